/** How the element looks where the page says nothing; its parts can be styled with `::part(...)`. */
export const STYLE = `
:host { display: block; position: relative; font: inherit; }
:host([hidden]) { display: none; }
[part='label'] { display: block; margin-block-end: 0.25em; }
[part='input'] { box-sizing: border-box; width: 100%; font: inherit; padding: 0.5em; }
[part='list'] {
  position: absolute; inset-inline: 0; z-index: 1; margin: 0; padding: 0; list-style: none;
  max-height: 24em; overflow-y: auto; background: Canvas; color: CanvasText; border: 1px solid GrayText;
}
[part='list'][hidden] { display: none; }
[part~='option'] { padding: 0.5em; cursor: pointer; }
[part~='option']:hover { text-decoration: underline; }
[part~='option-active'] { background: Highlight; color: HighlightText; }
[part='title'] { font-weight: bold; }
[part='text'] { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
mark { background: none; color: inherit; text-decoration: underline; font-weight: bold; }
[part='status'] {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
`;

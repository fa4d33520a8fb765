import { signal } from '@preact/signals';

/** The page's views, in the order of their tabs. */
export const VIEWS = ['search', 'ingest', 'traces', 'system'] as const;
export type View = (typeof VIEWS)[number];

/** A view and what it shows, as `#/traces/ID/SPAN`. It holds no text that anybody typed. */
export interface Route {
  view: View;
  rest: readonly string[];
}

/** The current route; follows the address and the browser's history. */
export const route = signal(read());

addEventListener('hashchange', () => {
  route.value = read();
});

/** Address of a route. */
export function href(view: View, ...rest: readonly string[]): string {
  return `#/${[view, ...rest].map(encodeURIComponent).join('/')}`;
}

/** Opens a route. */
export function go(view: View, ...rest: readonly string[]): void {
  location.hash = href(view, ...rest);
}

function read(): Route {
  const [view, ...rest] = location.hash.replace(/^#\/?/, '').split('/').map(decode);
  return { view: VIEWS.find((each) => each === view) ?? 'search', rest: rest.filter((each) => each !== '') };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return '';
  }
}

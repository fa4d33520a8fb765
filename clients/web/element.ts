import type { LookupTower } from '../../towers/lookup/tower.ts';
import { DEFAULTS, readSettings, type Settings } from './attributes.ts';
import { type ClientOptions, WebClient } from './client.ts';
import type { Credential } from './credential.ts';
import type { Hit } from './contract.ts';
import { WebError } from './errors.ts';
import { stretchesOf } from './highlight.ts';
import { STYLE } from './style.ts';
import { loadTower } from './tower.ts';

/** What the element says to people. Set `messages` to say it in another language. */
export interface Messages {
  /** How many documents were found. */
  found: (count: number) => string;
  /** How much of the tower has come, 0 to 1. */
  loading: (share: number) => string;
}

const MESSAGES: Messages = {
  found: (count) => (count === 0 ? 'No results' : count === 1 ? '1 result' : `${count} results`),
  loading: (share) => `Loading the encoder: ${Math.round(100 * share)} %`,
};

/** Towers by service and space: elements of one page share them. */
const towers = new Map<string, Promise<LookupTower>>();

/** In a process without a page, the module can be imported all the same; the element is of no use there. */
const Base = globalThis.HTMLElement ?? (Object as unknown as typeof HTMLElement);

/**
 * A box that searches as one types: an editable combobox with a list, after the ARIA Authoring Practices.
 *
 * Events: `scalingnote-select` (detail: the {@link Hit}; to keep the text, prevent its default), `scalingnote-results`
 * (detail: the query and its hits), `scalingnote-error` (detail: the error).
 */
export class ScalingnoteSearch extends Base {
  #messages = MESSAGES;
  #settings: Settings | undefined;
  #client: WebClient | undefined;
  #options: ClientOptions = {};
  #hits: readonly Hit[] = [];
  /** Index of the option that is active; -1 for none. */
  #active = -1;
  /** The text that was asked for last. */
  #asked = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;
  readonly #observer: MutationObserver | undefined;
  readonly #parts: Parts | undefined;

  constructor() {
    super();
    if (globalThis.HTMLElement === undefined) return;
    this.#observer = new MutationObserver(() => this.#configure());
    const parts = (this.#parts = makeParts(this.attachShadow({ mode: 'open', delegatesFocus: true })));
    parts.input.addEventListener('input', (event) => {
      // What an input method has not finished is no text yet.
      if (!event.isComposing) this.#typed();
    });
    parts.input.addEventListener('compositionend', () => this.#typed());
    parts.input.addEventListener('keydown', (event) => this.#pressed(event));
    parts.input.addEventListener('blur', () => this.#close());
    // The input keeps the focus while somebody points at the list.
    parts.list.addEventListener('pointerdown', (event) => event.preventDefault());
    parts.list.addEventListener('click', (event) => {
      const option = (event.target as Element).closest('[role=option]');
      if (option !== null) this.#select([...parts.list.children].indexOf(option));
    });
  }

  /** The text in the box. */
  get value(): string {
    return this.#parts?.input.value ?? '';
  }

  /** Sets the text, as if somebody had typed it. */
  set value(text: string) {
    if (this.#parts === undefined) return;
    this.#parts.input.value = text;
    if (this.isConnected) this.#typed();
  }

  /** What the element says; parts that are left out stay as they are. */
  set messages(messages: Partial<Messages>) {
    this.#messages = { ...this.#messages, ...messages };
  }

  /** What the service asks for. It is no attribute, for whoever reads the page reads those. */
  set credential(credential: Credential | undefined) {
    this.#options = credential === undefined ? {} : { credential };
    if (this.isConnected) this.#configure();
  }

  connectedCallback(): void {
    this.#observer?.observe(this, { attributes: true });
    this.#configure();
  }

  disconnectedCallback(): void {
    this.#observer?.disconnect();
    this.#stop();
    this.#show([], '');
  }

  /** Reads the attributes, all anew: one that is wrong is reported, and nothing is searched until it is mended. */
  #configure(): void {
    const { input, label, list } = this.#parts!;
    this.#stop();
    this.#settings = undefined;
    this.#report(undefined);
    // The box has a name even where another attribute is wrong.
    label.textContent = this.getAttribute('label')?.trim() || DEFAULTS.label;
    list.setAttribute('aria-label', label.textContent);
    input.placeholder = this.getAttribute('placeholder') ?? '';
    try {
      const settings = readSettings(this.attributes);
      this.#client = new WebClient(settings.endpoint, this.#options);
      this.#settings = settings;
    } catch (error) {
      this.#show([], '');
      this.#report(error);
      return;
    }
    this.#asked = '';
    this.#typed();
  }

  #typed(): void {
    const settings = this.#settings;
    const query = this.value.trim();
    if (settings === undefined || query === this.#asked) return;
    // Whatever is on its way answers what is no longer there.
    this.#stop();
    this.#asked = query;
    if (Array.from(query).length < settings.minLength) {
      this.#show([], '');
      this.#report(undefined);
      return;
    }
    this.#timer = setTimeout(() => {
      this.#search(query, settings).catch((error: unknown) => this.#report(error));
    }, settings.debounceMs);
  }

  async #search(query: string, { request, timeoutMs, tower }: Settings): Promise<void> {
    const running = (this.#running = new AbortController());
    const { signal } = running;
    const options = { timeoutMs, signal };
    let hits: readonly Hit[] = [];
    try {
      if (tower === undefined) {
        ({ hits } = await this.#client!.search({ ...request, query }, options));
      } else {
        const loaded = await this.#tower(tower, signal);
        if (signal.aborted) return;
        const { mode: _, ...search } = request;
        const { vector } = loaded.encode(query);
        ({ hits } = await this.#client!.searchByVector({ search, space: tower, vector }, options));
      }
      // A newer query has the word.
      if (signal.aborted) return;
      this.#report(undefined);
      this.#show(hits, query);
      this.#tell('scalingnote-results', { query, hits });
    } catch (error) {
      if (signal.aborted) return;
      this.#show([], '');
      this.#asked = '';
      this.#report(error);
    }
  }

  /** The tower that encodes on this page: the text is never sent in its place. */
  async #tower(space: string, signal: AbortSignal): Promise<LookupTower> {
    const { endpoint } = this.#settings!;
    const key = `${endpoint} ${space}`;
    const { status } = this.#parts!;
    let found = towers.get(key);
    if (found === undefined) {
      found = loadTower(endpoint, {
        ...this.#options,
        space,
        onProgress: ({ loadedBytes, totalBytes }) => {
          const share = Math.floor((10 * loadedBytes) / (totalBytes ?? Infinity)) / 10;
          if (!signal.aborted) status.textContent = this.#messages.loading(share);
        },
      });
      towers.set(key, found);
      found.catch(() => towers.delete(key));
    }
    return found;
  }

  /** Ends what waits and what runs. */
  #stop(): void {
    clearTimeout(this.#timer);
    this.#running?.abort(new WebError('canceled', 'a newer query came'));
    this.#running = undefined;
  }

  #pressed(event: KeyboardEvent): void {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const isOpen = !this.#parts!.list.hidden;
    const last = this.#hits.length - 1;
    if (event.altKey && event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    switch (event.key) {
      case 'ArrowDown':
        if (last < 0) return;
        this.#open();
        if (!event.altKey) this.#activate(this.#active < last ? this.#active + 1 : 0);
        break;
      case 'ArrowUp':
        if (last < 0) return;
        if (event.altKey) this.#close();
        else {
          this.#open();
          this.#activate(this.#active > 0 ? this.#active - 1 : last);
        }
        break;
      // Without an active option they move the cursor in the text.
      case 'Home':
      case 'End':
        if (!isOpen || this.#active < 0) return;
        this.#activate(event.key === 'Home' ? 0 : last);
        break;
      case 'ArrowLeft':
      case 'ArrowRight':
        this.#activate(-1);
        return;
      case 'Enter':
        if (!isOpen || this.#active < 0) return;
        this.#select(this.#active);
        break;
      case 'Escape':
        if (isOpen) this.#close();
        else if (this.value !== '') this.value = '';
        else return;
        break;
      default:
        return;
    }
    event.preventDefault();
  }

  #open(): void {
    const { input, list } = this.#parts!;
    list.hidden = this.#hits.length === 0;
    input.setAttribute('aria-expanded', String(!list.hidden));
  }

  #close(): void {
    const { input, list } = this.#parts!;
    list.hidden = true;
    input.setAttribute('aria-expanded', 'false');
    this.#activate(-1);
  }

  #activate(index: number): void {
    const { input, list } = this.#parts!;
    this.#active = index;
    for (const [at, option] of [...list.children].entries()) {
      option.setAttribute('aria-selected', String(at === index));
      option.setAttribute('part', at === index ? 'option option-active' : 'option');
    }
    const option = list.children[index];
    if (option === undefined) input.removeAttribute('aria-activedescendant');
    else {
      input.setAttribute('aria-activedescendant', option.id);
      option.scrollIntoView({ block: 'nearest' });
    }
  }

  #select(index: number): void {
    const hit = this.#hits[index];
    if (hit === undefined) return;
    this.#close();
    if (this.#tell('scalingnote-select', hit, true)) {
      const { input } = this.#parts!;
      input.value = nameOf(hit);
      // The text that was chosen is no new query.
      this.#stop();
      this.#asked = input.value.trim();
    }
  }

  #show(hits: readonly Hit[], query: string): void {
    const { list, status, input } = this.#parts!;
    this.#hits = hits;
    list.replaceChildren(...hits.map((hit, index) => optionOf(hit, index, query)));
    this.#activate(-1);
    // An answer to somebody who has left opens nothing.
    if (hits.length > 0 && input.matches(':focus')) this.#open();
    else this.#close();
    status.textContent = query === '' ? '' : this.#messages.found(hits.length);
  }

  /** Shows an error in full and tells of it; `undefined` takes it away. */
  #report(error: unknown): void {
    const { alert, input, status } = this.#parts!;
    alert.hidden = error === undefined;
    input.setAttribute('aria-invalid', String(error !== undefined));
    alert.textContent =
      error === undefined ? '' : error instanceof Error ? error.message : 'The search failed';
    if (error === undefined) return;
    status.textContent = '';
    this.#tell('scalingnote-error', error);
  }

  /** @returns whether nobody prevented what follows */
  #tell(type: string, detail: unknown, cancelable = false): boolean {
    return this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true, cancelable }));
  }
}

/** The elements in the shadow of one box. */
interface Parts {
  label: HTMLLabelElement;
  input: HTMLInputElement;
  list: HTMLUListElement;
  /** How many were found, for those who do not see the list. */
  status: HTMLElement;
  alert: HTMLElement;
}

function makeParts(root: ShadowRoot): Parts {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  const parts: Parts = {
    label: made('label', { part: 'label', for: 'input' }),
    input: made('input', {
      part: 'input',
      id: 'input',
      type: 'text',
      role: 'combobox',
      autocomplete: 'off',
      autocapitalize: 'none',
      spellcheck: 'false',
      'aria-autocomplete': 'list',
      'aria-expanded': 'false',
      'aria-controls': 'list',
      'aria-describedby': 'alert',
    }),
    list: made('ul', { part: 'list', id: 'list', role: 'listbox', hidden: '' }),
    status: made('div', { part: 'status', role: 'status', 'aria-live': 'polite' }),
    alert: made('div', { part: 'error', id: 'alert', role: 'alert', hidden: '' }),
  };
  root.append(parts.label, parts.input, parts.list, parts.status, parts.alert);
  return parts;
}

/** What a hit looks like. Texts of documents become texts and nothing else, whatever stands in them. */
function optionOf(hit: Hit, index: number, query: string): HTMLElement {
  const option = made('li', {
    part: 'option',
    role: 'option',
    id: `option-${index}`,
    'aria-selected': 'false',
  });
  const title = made('div', { part: 'title' });
  title.append(...marked(nameOf(hit), query));
  option.append(title);
  if (hit.text) {
    const text = made('div', { part: 'text' });
    text.append(...marked(hit.text, query));
    option.append(text);
  }
  return option;
}

function marked(text: string, query: string): (string | HTMLElement)[] {
  return stretchesOf(text, query).map((stretch) => {
    if (!stretch.isMatch) return stretch.text;
    const mark = made('mark', { part: 'mark' });
    mark.textContent = stretch.text;
    return mark;
  });
}

function nameOf({ title, documentId }: Hit): string {
  return title || documentId || '';
}

function made<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>>,
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// Another copy of the package may have been first.
if (globalThis.customElements?.get('scalingnote-search') === undefined) {
  globalThis.customElements?.define('scalingnote-search', ScalingnoteSearch);
}

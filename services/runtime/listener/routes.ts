import { needOfRoute } from '../access/routes.ts';
import type { Exchange } from './exchange.ts';
import type { Methods } from './methods.ts';

export type Verb = 'GET' | 'HEAD' | 'POST';

/** What is served at an address. */
export interface Route {
  readonly verbs: readonly Verb[];
  /**
   * The method that it calls, `/scalingnote.v1.QueryService/Search`; a route that calls none has its own address there.
   * It is what `beforeCall` is told.
   */
  readonly method?: string;
  /** Whether it reads what stands after `?` in the address; otherwise a request that has something there is refused. */
  readonly takesQuery?: boolean;
  /** Answers; what it throws becomes the error that the caller sees. */
  serve(exchange: Exchange): Promise<void>;
}

/** Adds routes of one kind. `methods` are the bound methods of all services of the port. */
export type AddRoutes = (routes: Routes, methods: Methods) => void;

/** What is served at which address, over HTTP/1.1 and HTTP/2 alike. */
export class Routes {
  readonly #exact = new Map<string, Route>();
  readonly #folders: [string, Route][] = [];

  /**
   * @param path - the address, `/v1/search`; one that ends in `/*` stands for everything below it
   * @throws {Error} where something is there already, or it declares no scope
   */
  add(path: string, route: Route): void {
    // An address that says nowhere what it asks of its callers is not served.
    if (route.method === undefined) needOfRoute(path);
    if (this.#exact.has(path)) throw new Error(`two routes at ${path}`);
    if (path.endsWith('/*')) this.#folders.push([path.slice(0, -1), route]);
    else this.#exact.set(path, route);
  }

  find(path: string): Route | undefined {
    return this.#exact.get(path) ?? this.#folders.find(([folder]) => path.startsWith(folder))?.[1];
  }

  /** Addresses to name to somebody who asked for another: the short ones. */
  get advertised(): string[] {
    const paths = [...this.#exact.keys(), ...this.#folders.map(([folder]) => `${folder}*`)];
    const plain = paths.filter((path) => !/^\/[\w.]+\.\w+\/\w+$/.test(path));
    return plain.length > 0 ? plain : paths;
  }
}

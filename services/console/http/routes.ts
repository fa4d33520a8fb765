import type { IncomingHttpHeaders } from 'node:http';

/** A request whose body has been read. */
export interface Request {
  /** What stood where the route's path has `:name`. */
  params: Readonly<Record<string, string>>;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** Empty where the route takes no body. */
  body: Buffer;
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal;
}

/** An answer: something to be written as JSON, or bytes. */
export type Reply =
  | { status?: number; json: unknown }
  | { status?: number; type: string; bytes: Uint8Array; headers?: Readonly<Record<string, string>> };

/** One thing that the server can be asked for. */
export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  /** Segments of a path; `:name` takes any one: `/api/traces/:id`. */
  path: string;
  /** Largest body, in bytes. @default 0 for GET and DELETE, 64 KiB for POST */
  maxBodyBytes?: number;
  /** Media types that a body may have. @default application/json */
  accepts?: readonly string[];
  /** Whether it is for programs, on this machine or another, and never for a browser. @default false */
  forPrograms?: boolean;
  /** Answers. @throws {HttpError} what the answer is instead */
  handle(request: Request): Promise<Reply> | Reply;
}

/** What {@link Routes.find} found. */
export type Found =
  | { route: Route; params: Record<string, string> }
  /** The path is there, for other methods. */
  | { allowed: string[] }
  | undefined;

/** Routes by method and path. */
export class Routes {
  readonly #routes: { route: Route; segments: string[] }[];

  constructor(routes: readonly Route[]) {
    this.#routes = routes.map((route) => ({ route, segments: route.path.split('/') }));
  }

  find(method: string, path: string): Found {
    const asked = path.split('/');
    const allowed: string[] = [];
    for (const { route, segments } of this.#routes) {
      const params = match(segments, asked);
      if (params === undefined) continue;
      if (route.method === method) return { route, params };
      allowed.push(route.method);
    }
    return allowed.length > 0 ? { allowed } : undefined;
  }
}

function match(segments: readonly string[], asked: readonly string[]): Record<string, string> | undefined {
  if (segments.length !== asked.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const value = asked[index]!;
    if (!segment.startsWith(':')) {
      if (segment !== value) return undefined;
    } else {
      const decoded = decode(value);
      if (decoded === undefined || decoded === '') return undefined;
      params[segment.slice(1)] = decoded;
    }
  }
  return params;
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

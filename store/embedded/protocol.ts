import type { StoreErrorReason } from '../errors.ts';
import type { Engine } from './engine.ts';

/** The engine's operations, by name. */
export type Operation = Exclude<keyof Engine, 'close'>;

/** What the worker is started with. */
export interface WorkerOptions {
  directory: string;
  busyTimeoutMs: number;
}

/** From the store to its worker. */
export type Request =
  | { [Name in Operation]: { id: number; operation: Name; parameters: Parameters<Engine[Name]> } }[Operation]
  /** Nobody waits for the call any more: do not begin it. */
  | { cancel: number }
  | { close: true };

/** From the worker to the store. A call to `id` 0, the opening of the database, is answered without being made. */
export type Response =
  | { id: number; value: unknown }
  | { id: number; error: SerializedError }
  | { warning: string };

/** An error that crosses the thread boundary; structured clone would keep its message alone. */
export interface SerializedError {
  reason: StoreErrorReason;
  message: string;
  metadata: Readonly<Record<string, string>>;
  stack: string | undefined;
}

import type { TowerError } from '../errors.ts';
import type { Answer } from './answer.ts';
import type { ServerFacts } from './facts.ts';

/** What one request came to. */
export type Outcome =
  | {
      answer: Answer;
      /** How long the next request should wait, in milliseconds. */ adviceMs?: number | undefined;
    }
  | {
      failure: TowerError;
      /** `busy`: overloaded; `away`: not there, or broken for the moment; `final`: the same again would fail again. */
      kind: 'busy' | 'away' | 'final';
      adviceMs?: number | undefined;
    };

/** How texts go to a server and vectors come back: one request, no second attempt. */
export interface Wire {
  /** The server, for messages. */
  readonly where: string;
  /** @throws the signal's reason */
  ask(
    texts: readonly string[],
    options: { signal: AbortSignal; tokens: number; headers: Readonly<Record<string, string>> },
  ): Promise<Outcome>;
  /** Counts the tokens of a text as the model gets it; undefined where the server can't. */
  count(text: string, signal: AbortSignal): Promise<number | undefined>;
  /** What the server says of its model, beside vectors. */
  describe(): Promise<ServerFacts>;
  close(): Promise<void>;
}

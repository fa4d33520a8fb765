import type { Session, TokenBatch } from './protocol.ts';

/** Several sessions of one model, which run at the same time. */
export class SessionPool implements Session {
  readonly device: string;
  readonly slots: number;
  readonly #sessions: readonly Session[];
  readonly #idle: Session[];
  readonly #waiting: ((session: Session) => void)[] = [];

  /** @param sessions at least one, on the same device */
  constructor(sessions: readonly Session[]) {
    this.device = sessions[0]!.device;
    this.slots = sessions.length;
    this.#sessions = sessions;
    this.#idle = [...sessions];
  }

  async run(batch: TokenBatch): Promise<Float32Array<ArrayBuffer>> {
    const session = this.#idle.pop() ?? (await new Promise<Session>((take) => this.#waiting.push(take)));
    try {
      return await session.run(batch);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(session);
      else this.#idle.push(session);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.close()));
  }
}

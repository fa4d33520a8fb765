import type { Socket } from 'node:net';
import { type Place, PLACE_VARIABLE, placeOf } from '../../../machine/limits.ts';
import { AuditLog } from '../access/audit.ts';
import type { OpenAudit } from '../access/audit-file.ts';
import type { Door, OpenDoor } from '../listener/door.ts';
import { ConfigError } from '../setting-types.ts';
import type { Instruments } from '../telemetry/instruments.ts';
import { snapshotOf } from '../telemetry/snapshot.ts';
import type { Quotas } from '../tenants/quotas.ts';
import type { Spent, ToMember, ToParent } from './messages.ts';

/** How often a process says that its event loop turns, in milliseconds. */
export const SAY_MS = 500;
/** How long what was spent, and lines of the audit log, wait for more of them, in milliseconds. */
const TELL_MS = 20;

let own: Seat | undefined;

/**
 * The place of this process among those of a service; `undefined` where the service is one process.
 *
 * @throws {ConfigError} where somebody else than a service has set the variable
 */
export function ownSeat(): Seat | undefined {
  const said = process.env[PLACE_VARIABLE];
  if (said === undefined) return undefined;
  const place = placeOf(process.env);
  if (!place || !isMember()) {
    throw new ConfigError(
      `${PLACE_VARIABLE} is "${said}", which a service sets for its own processes; unset it, and set --processes`,
    );
  }
  return (own ??= new Seat(place));
}

/** Whether a service has started this process as one of its own. */
export function isMember(): boolean {
  return process.send !== undefined && placeOf(process.env)?.parent === process.ppid;
}

/** One of several processes of a service, as itself sees it: connections come from its parent. */
export class Seat implements Place {
  readonly number: number;
  readonly processes: number;
  readonly port: number;
  readonly parent: number;
  #accept: ((socket: Socket) => void) | undefined;
  #stop: (() => void) | undefined;
  #drain: (() => void) | undefined;
  #instruments: Instruments | undefined;
  #quotas: Quotas | undefined;
  #open = 0;
  #closed: (() => void) | undefined;
  #spent = new Map<string, Spent>();
  #lines: string[] = [];
  #telling: NodeJS.Timeout | undefined;
  readonly #beating: NodeJS.Timeout;

  constructor({ number, processes, port, parent }: Place) {
    this.number = number;
    this.processes = processes;
    this.port = port;
    this.parent = parent;
    process.on('message', (message, handle) => this.#hear(message as ToMember, handle as Socket | undefined));
    process.once('disconnect', () => this.#drain?.());
    process.on('exit', this.#tell);
    this.#beating = setInterval(() => this.#say({ type: 'beat' }), SAY_MS);
    this.#beating.unref();
  }

  /** Whether this is the process that says what all of them would. */
  get isFirst(): boolean {
    return this.number === 1;
  }

  readonly openDoor: OpenDoor = (accept): Door => {
    this.#accept = accept;
    return {
      port: this.port,
      close: () =>
        this.#open === 0 ? Promise.resolve() : new Promise((resolve) => (this.#closed = resolve)),
    };
  };

  /** @param stop is called when the service stops */
  onStop(stop: () => void): void {
    this.#stop = stop;
  }

  /** @param reason why this process does not serve; `undefined` where it does */
  setServing(reason: string | undefined): void {
    this.#say({ type: 'serving', reason });
  }

  /** Has the parent send no more connections. Resolves when the last one has come. */
  async released(): Promise<void> {
    const drained = new Promise<void>((resolve) => (this.#drain = resolve));
    if (!process.connected) return;
    this.#say({ type: 'stopping' });
    await drained;
  }

  /** Shows the parent what is measured here. */
  measure(instruments: Instruments): void {
    this.#instruments = instruments;
  }

  /** Shares the quotas of tenants that are counted in seconds: each process takes what the others let through. */
  share(quotas: Quotas): void {
    this.#quotas = quotas;
    quotas.onSpent((quota, tenant, amount) => {
      const key = `${quota} ${tenant}`;
      const known = this.#spent.get(key);
      if (known) known.amount += amount;
      else this.#spent.set(key, { quota, tenant, amount });
      this.#tellSoon();
    });
  }

  /** An audit log that the parent writes: a file can't be rotated by several. */
  audit(): OpenAudit {
    const append = (line: string): void => {
      this.#lines.push(line);
      this.#tellSoon();
    };
    return { log: new AuditLog(append), append, lost: 0, close: this.#tell };
  }

  /** The last word: what was measured until now. */
  close(): void {
    clearInterval(this.#beating);
    this.#tell();
    if (this.#instruments) {
      this.#say({ type: 'measured', id: undefined, instruments: snapshotOf(this.#instruments.all) });
    }
  }

  #hear(message: ToMember, socket: Socket | undefined): void {
    switch (message.type) {
      case 'connection':
        this.#take(message.peer, socket);
        break;
      case 'stop':
        this.#stop?.();
        break;
      case 'drain':
        this.#drain?.();
        break;
      case 'measure': {
        const { id } = message;
        this.#say({ type: 'measured', id, instruments: snapshotOf(this.#instruments?.all ?? []) });
        break;
      }
      case 'spent':
        for (const { quota, tenant, amount } of message.spent) this.#quotas?.spend(quota, tenant, amount);
        break;
    }
  }

  #take(peer: string, socket: Socket | undefined): void {
    const ended = (): void => this.#say({ type: 'closed', peer });
    // A connection that its peer has reset on the way does not arrive.
    if (!socket || !this.#accept) {
      socket?.destroy();
      ended();
      return;
    }
    this.#open++;
    socket.once('close', () => {
      ended();
      if (--this.#open === 0) this.#closed?.();
    });
    this.#accept(socket);
  }

  #tellSoon(): void {
    this.#telling ??= setTimeout(this.#tell, TELL_MS);
  }

  readonly #tell = (): void => {
    clearTimeout(this.#telling);
    this.#telling = undefined;
    if (this.#spent.size > 0) {
      this.#say({ type: 'spent', spent: [...this.#spent.values()] });
      this.#spent.clear();
    }
    if (this.#lines.length > 0) {
      this.#say({ type: 'audit', lines: this.#lines });
      this.#lines = [];
    }
  };

  #say(message: ToParent): void {
    // A parent that is gone ends this process; what it does not hear then is of no use to anybody.
    if (process.connected) process.send!(message, undefined, undefined, () => {});
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Restarts } from '../../../calls/restarts.ts';
import { authority } from '../listen-address.ts';
import { type Door, openPort } from '../listener/door.ts';
import { ConfigError } from '../setting-types.ts';
import { StartError } from '../start-error.ts';
import type { Instrument } from '../telemetry/instruments.ts';
import { type InstrumentSnapshot, lasting, merged, type Part, snapshotOf } from '../telemetry/snapshot.ts';
import { HandOver } from './hand-over.ts';
import { SAY_MS } from './seat.ts';
import { Member, type MemberEnd, type MemberEvents } from './member.ts';

/** Exit code for wrong usage: another start can't help. */
const EXIT_USAGE = 2;
/** How much longer than its drain a process may take to end, in milliseconds, before it is killed. */
const STOP_MARGIN_MS = 10_000;
/** A process that ends by itself may have had its signal before the service has: so long, in milliseconds, it goes on. */
const SAME_SIGNAL_MS = 100;
/** A process that was to be heard of so often, and was not, does not turn. */
const SILENT = 3;

/** What a fleet is told. */
export interface FleetOptions {
  processes: number;
  host: string;
  port: number;
  /** How to choose another port. */
  portSetting: string;
  drainMs: number;
  lameDuckMs: number;
  log: Logger;
  /** Lines of the audit log of the processes. @default nobody writes them */
  onAudit?: ((lines: readonly string[]) => void) | undefined;
  /** Why the service does not serve, when that changes. */
  onServing: (reason: string | undefined) => void;
}

/**
 * Several processes of one service behind one port. This one has the port and gives connections to the others, which do the
 * work; one that dies is started again.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #members: (Member | undefined)[];
  readonly #handOver: HandOver;
  readonly #events: MemberEvents;
  /** What processes that are gone had counted. */
  #gone: readonly InstrumentSnapshot[] = [];
  #door!: Door;
  #died = 0;
  #stopping = false;

  private constructor(options: FleetOptions) {
    this.#options = options;
    this.#members = Array.from({ length: options.processes }, () => undefined);
    this.#handOver = new HandOver(() => this.#running);
    this.#events = {
      onServing: () => this.#said(),
      onStopping: (member) => this.#release(member),
      onClosed: this.#handOver.closed,
      onSpent: (from, spent) => {
        for (const member of this.#running) if (member !== from) member.say({ type: 'spent', spent });
      },
      onAudit: (lines) => options.onAudit?.(lines),
    };
    // Whatever ends this process, nothing is left.
    process.on('exit', this.#killAll);
    process.on('SIGUSR2', () => {
      for (const member of this.#running) member.kill('SIGUSR2');
    });
  }

  /**
   * Starts all processes, and resolves when all of them are ready.
   *
   * @throws {StartError} where the port is taken, or one of them can't start; {ConfigError} where one was told nonsense
   */
  static async start(options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(options);
    fleet.#door = await openPort({ ...options, unread: true }, fleet.#handOver.accept);
    const starts = fleet.#members.map((_, index) => fleet.#start(index + 1));
    try {
      await Promise.all(starts);
    } catch (error) {
      fleet.#stopping = true;
      fleet.#killAll();
      fleet.#handOver.close();
      throw error;
    }
    return fleet;
  }

  /** `host:port`. */
  get address(): string {
    return authority(this.#options.host, this.#door.port);
  }

  /** Why the service does not serve; `undefined` where all processes that run do. */
  get notServing(): string | undefined {
    if (this.#stopping) return 'it is shutting down';
    const open = this.#running.filter(({ isOpen }) => isOpen);
    if (open.length === 0) return 'none of its processes runs';
    return open.find(({ notServing }) => notServing !== undefined)?.notServing;
  }

  /** Whether the event loops of all processes that run turn. */
  readonly turns = (): boolean => {
    const since = performance.now() - SILENT * SAY_MS;
    return this.#running.every(({ isOpen, beatAt }) => !isOpen || beatAt > since);
  };

  /** Processes that run, and how many have died. */
  get counts(): { running: number; died: number } {
    return { running: this.#running.filter(({ isOpen }) => isOpen).length, died: this.#died };
  }

  /** What all processes measured, as one. @param own of this process */
  async measure(own: Iterable<Instrument>): Promise<Instrument[]> {
    await Promise.all(this.#running.filter(({ isOpen }) => isOpen).map((member) => member.measure()));
    const parts: Part[] = this.#running.map(({ number, measured }) => {
      return { process: String(number), instruments: measured };
    });
    return merged([
      ...parts,
      { instruments: this.#gone },
      { process: 'parent', instruments: snapshotOf(own) },
    ]);
  }

  /** Answers what is in flight in all processes, and ends them. */
  async stop(): Promise<void> {
    const { drainMs, lameDuckMs } = this.#options;
    this.#stopping = true;
    this.#said();
    const members = this.#running;
    for (const member of members) member.say({ type: 'stop' });
    if (lameDuckMs > 0) await sleep(lameDuckMs);
    // Not awaited: it knows of the connections of all processes, which have to hear first that no more come.
    void this.#door.close();
    this.#handOver.close();
    for (const member of members) member.say({ type: 'drain' });
    const late = setTimeout(this.#killAll, drainMs + STOP_MARGIN_MS);
    await Promise.all(members.map(({ ended }) => ended));
    clearTimeout(late);
    process.off('exit', this.#killAll);
  }

  get #running(): Member[] {
    return this.#members.filter((member) => member !== undefined);
  }

  readonly #killAll = (): void => {
    for (const member of this.#running) member.kill('SIGKILL');
  };

  #said(): void {
    this.#options.onServing(this.notServing);
  }

  async #start(number: number, restarts = new Restarts()): Promise<void> {
    const { processes } = this.#options;
    const member = new Member({ number, processes, port: this.#door.port }, this.#events);
    this.#members[number - 1] = member;
    const end = await member.started;
    if (end) throw startFailure(member, end, processes);
    this.#handOver.again();
    this.#said();
    void member.ended.then((how) => this.#restart(member, how, restarts));
  }

  /** Starts a process again that has ended, as often as it takes. */
  async #restart(member: Member, end: MemberEnd, restarts: Restarts): Promise<void> {
    const { number, measured } = member;
    const { log } = this.#options;
    this.#gone = lasting([{ instruments: this.#gone }, { instruments: measured }]);
    this.#members[number - 1] = undefined;
    let cause: string | number | null = end.signal ?? `exit ${end.code}`;
    while (!this.#stopping) {
      this.#died++;
      this.#said();
      const waitMs = restarts.died();
      if (waitMs === undefined) {
        log.fatal({ process: number, cause }, `a process ended ${restarts.found}; the service gives up`);
        process.exit(1);
      }
      log.warn({ process: number, cause, waitMs }, 'a process ended, and is started again');
      await sleep(waitMs);
      if (this.#stopping) return;
      try {
        await this.#start(number, restarts);
        log.info({ process: number, pid: this.#members[number - 1]?.child.pid }, 'a process runs again');
        return;
      } catch (error) {
        this.#members[number - 1] = undefined;
        cause = (error as Error).message;
      }
    }
  }

  /** A process wants no more connections. Where the service stops, it waits as the others do. */
  #release(member: Member): void {
    if (this.#stopping) return;
    setTimeout(() => {
      if (this.#stopping) return;
      member.isOpen = false;
      this.#said();
      member.say({ type: 'drain' });
    }, SAME_SIGNAL_MS);
  }
}

function startFailure({ number }: Member, { code, signal, failure }: MemberEnd, processes: number): Error {
  const why =
    failure ?? `process ${number} of ${processes} ended before it served (${signal ?? `exit ${code}`})`;
  return code === EXIT_USAGE ? new ConfigError(why) : new StartError(why);
}

import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { PLACE_VARIABLE, placeText } from '../../../machine/limits.ts';
import type { ServiceReport } from '../run-service.ts';
import type { InstrumentSnapshot } from '../telemetry/snapshot.ts';
import type { Spent, ToMember, ToParent } from './messages.ts';

/** A process that has not said what it measured within this is shown as it was before. */
const MEASURE_MS = 1_000;

/** How a process ended. */
export interface MemberEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Why it could not start, where it said so. */
  failure: string | undefined;
}

/** What a parent listens for. */
export interface MemberEvents {
  /** It serves, or does not any more. */
  onServing(): void;
  /** It wants no more connections. */
  onStopping(member: Member): void;
  /** One of its connections has ended. */
  onClosed(peer: string): void;
  onSpent(from: Member, spent: readonly Spent[]): void;
  onAudit(lines: readonly string[]): void;
}

/** One of the processes of a service, as their parent sees it. */
export class Member {
  readonly number: number;
  readonly child: ChildProcess;
  /** Resolves when it serves or, with how it ended, when it can't. */
  readonly started: Promise<MemberEnd | undefined>;
  readonly ended: Promise<MemberEnd>;
  /** Connections that it has, by peer. */
  readonly connections = new Map<string, number>();
  open = 0;
  /** Why it does not serve; `undefined` where it does. */
  notServing: string | undefined = 'it starts';
  /** Whether it takes connections. */
  isOpen = false;
  /** When its event loop was last heard of. */
  beatAt = performance.now();
  /** What it measured when it was last asked. */
  measured: readonly InstrumentSnapshot[] = [];
  /** Connections that are on their way to it. */
  readonly #under = new Set<Socket>();
  readonly #asked = new Map<number, () => void>();
  #asks = 0;

  constructor(place: { number: number; processes: number; port: number }, events: MemberEvents) {
    this.number = place.number;
    const own = (flags: string): string => heapShare(flags, place.processes);
    const { NODE_OPTIONS: options } = process.env;
    this.child = fork(process.argv[1]!, process.argv.slice(2), {
      execArgv: process.execArgv.map(own),
      env: {
        ...process.env,
        ...(options !== undefined && { NODE_OPTIONS: own(options) }),
        [PLACE_VARIABLE]: placeText({ ...place, parent: process.pid }),
      },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      // Ctrl-C reaches the whole process group of the terminal. In its own group, a process is stopped once, by its parent.
      detached: true,
    });
    let failure: string | undefined;
    let isReady = (): void => {};
    const ready = new Promise<undefined>((resolve) => (isReady = () => resolve(undefined)));
    this.child.on('message', (message: ToParent | ServiceReport) => {
      if (message.type === 'failed') failure = message.message;
      else if (message.type === 'ready') {
        this.isOpen = true;
        isReady();
      } else this.#hear(message, events);
    });
    this.ended = new Promise((resolve) => {
      this.child.once('error', ({ message }) => resolve({ code: null, signal: null, failure: message }));
      this.child.once('exit', (code, signal) => resolve({ code, signal, failure }));
    });
    this.started = Promise.race([ready, this.ended]);
    void this.ended.then(() => {
      this.isOpen = false;
      this.notServing = 'it ended';
      for (const answered of this.#asked.values()) answered();
      for (const socket of this.#under) socket.destroy();
      for (const [peer, count] of this.connections) {
        for (let each = 0; each < count; each++) events.onClosed(peer);
      }
      this.connections.clear();
      this.open = 0;
    });
  }

  /** Gives it a connection. */
  give(socket: Socket, peer: string): void {
    this.open++;
    this.connections.set(peer, (this.connections.get(peer) ?? 0) + 1);
    this.#under.add(socket);
    this.child.send({ type: 'connection', peer } satisfies ToMember, socket, {}, (error) => {
      this.#under.delete(socket);
      if (error) socket.destroy();
    });
  }

  /** Asks what it has measured; `measured` is as new as can be then. */
  async measure(): Promise<void> {
    const id = ++this.#asks;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#asked.set(id, resolve);
      timer = setTimeout(resolve, MEASURE_MS);
      this.say({ type: 'measure', id });
    });
    clearTimeout(timer);
    this.#asked.delete(id);
  }

  say(message: ToMember): void {
    if (this.child.connected) this.child.send(message, () => {});
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  #hear(message: ToParent, events: MemberEvents): void {
    switch (message.type) {
      case 'serving':
        this.notServing = message.reason;
        events.onServing();
        break;
      case 'closed':
        this.#forget(message.peer, events);
        break;
      case 'beat':
        this.beatAt = performance.now();
        break;
      case 'stopping':
        events.onStopping(this);
        break;
      case 'measured':
        this.measured = message.instruments;
        if (message.id !== undefined) this.#asked.get(message.id)?.();
        break;
      case 'spent':
        events.onSpent(this, message.spent);
        break;
      case 'audit':
        events.onAudit(message.lines);
        break;
    }
  }

  #forget(peer: string, events: MemberEvents): void {
    const left = (this.connections.get(peer) ?? 0) - 1;
    if (left < 0) return;
    if (left > 0) this.connections.set(peer, left);
    else this.connections.delete(peer);
    this.open--;
    events.onClosed(peer);
  }
}

/** Flags of Node for one of so many processes: a limit of the heap is of all of them. */
export function heapShare(flags: string, processes: number): string {
  return flags.replaceAll(
    /(--max[-_]old[-_]space[-_]size=)(\d+)/g,
    (_, flag: string, mib: string) => flag + String(Math.max(1, Math.floor(Number(mib) / processes))),
  );
}

import type { ClientPlan, History, HistoryEvent, OutcomeKind, PlannedOperation } from './history.ts';
import type { Fault } from './judge.ts';

/** One sending of an operation. */
export interface Attempt {
  connection: number;
  sentAt: number;
  outcome?: OutcomeKind;
  reason?: string;
  outcomeAt?: number;
  /** When a watermark covered it; for one that was never covered, when a later attempt was. */
  doneAt: number;
}

/** What is known of an operation in one collection. */
export interface Operation {
  client: string;
  tenant: string;
  identity: string;
  plan: PlannedOperation;
  attempts: Attempt[];
  firstSent: number;
  /** When the client was last told that it is durable. */
  ackedAt?: number;
  /** Whether it is acknowledged, and not rejected. */
  took: boolean;
  /** It was sent to another collection, and may have come into this one. */
  isForeign: boolean;
}

/** What a freshness token covers. */
export interface Coverage {
  identity: string;
  /** When an operation was covered that a search with the token has to show. */
  covered(operation: Operation): number | undefined;
}

/** A freshness token as a client received it. */
interface Issued {
  identity: string;
  client: string;
  /** Of the client. */
  tenant: string;
  sequence: number;
  at: number;
  /** When the last operation that it covers had been sent: it was made later than that. */
  madeAfter: number;
}

/** Where a client's program is. */
interface Program {
  plan: ClientPlan;
  bySequence: Map<number, PlannedOperation>;
  after: number;
  identity: string;
  /** By sequence, of the collection that it is at. */
  operations: Map<number, Operation>;
  reported: Set<number>;
  durable: number;
  isFinished: boolean;
}

/** Everything that a history says about operations, by collection and document. */
export class Ledger {
  readonly operations: Operation[] = [];
  planned = 0;
  acknowledged = 0;
  readonly #report: (fault: Fault, what: string) => void;
  readonly #programs = new Map<string, Program>();
  /** By identity, tenant and document. */
  readonly #documents = new Map<string, Map<string, Map<string, Operation[]>>>();
  readonly #identities = new Map<string, string>();
  readonly #droppedAt = new Map<string, number>();
  /** From when on it may have been gone. */
  readonly #goneFrom = new Map<string, number>();
  /** Connections of a client that have not ended. */
  readonly #open = new Map<string, Set<number>>();
  readonly #tokens = new Map<string, Issued[]>();
  /** When connections ended, by client and number. */
  readonly #endedAt = new Map<string, number>();

  constructor({ clients, events }: History, report: (fault: Fault, what: string) => void) {
    this.#report = report;
    for (const plan of clients) {
      this.planned += plan.operations.length;
      this.#programs.set(plan.client, {
        plan,
        bySequence: new Map(plan.operations.map((operation) => [operation.sequence, operation])),
        after: 0,
        identity: '',
        operations: new Map(),
        reported: new Set(),
        durable: 0,
        isFinished: false,
      });
    }
    for (const event of events) this.#enter(event);
    for (const operation of this.operations) this.#close(operation);
    this.#addForeign(events);
    for (const { plan, isFinished } of this.#programs.values()) {
      if (!isFinished) report('protocol', `client ${plan.client} has not come to its end`);
    }
  }

  /** All operations on each document of a tenant in a collection. */
  documents(identity: string, tenant: string): Map<string, Operation[]> {
    return this.#documents.get(identity)?.get(tenant) ?? new Map<string, Operation[]>();
  }

  /** Whether a collection may have been gone at a moment. */
  isGone(identity: string, at: number): boolean {
    return (this.#goneFrom.get(identity) ?? Infinity) < at;
  }

  /**
   * All operations that an outcome may rest on: those in its collection and, where that was gone by then, those in any
   * other. Such an outcome is heard and never covered; the stream ends, and the client begins again.
   */
  behind({ identity, tenant, plan }: Operation, outcomeAt: number): Operation[] {
    const identities = this.isGone(identity, outcomeAt) ? [...this.#documents.keys()] : [identity];
    return identities.flatMap((each) => this.documents(each, tenant).get(plan.id) ?? []);
  }

  /** What a token covers; `undefined` for one that nobody was given. */
  coverage(token: string): Coverage | undefined {
    const issued = this.#tokens.get(token);
    if (!issued) return undefined;
    const covered = ({ client, tenant, plan, attempts }: Operation): number | undefined => {
      for (const { client: owner, tenant: whose, sequence, at, madeAfter } of issued) {
        // A token says how far one tenant has come, and nothing of others.
        if (whose !== tenant) continue;
        // It may have been sent again, and acknowledged again, after the token.
        const isOwn = client === owner && plan.sequence <= sequence;
        const by = isOwn ? at : madeAfter;
        // What was rejected then may have taken effect when it was sent once more.
        const heard = attempts.findLast(({ outcomeAt = Infinity }) => outcomeAt <= by);
        if (heard === undefined || heard.outcome === 'rejected') continue;
        if (isOwn) return at;
        const done = attempts.find(({ doneAt }) => doneAt <= madeAfter)?.doneAt;
        if (done !== undefined) return done;
      }
      return undefined;
    };
    return { identity: issued[0]!.identity, covered };
  }

  #enter(event: HistoryEvent): void {
    const { at, kind } = event;
    if (kind === 'dropped') {
      this.#droppedAt.set(event.identity, at);
      this.#goneFrom.set(event.identity, event.from ?? at);
    }
    if (!('client' in event)) return;
    const program = this.#programs.get(event.client)!;
    switch (event.kind) {
      case 'run':
        program.after = event.after;
        program.durable = event.after;
        program.reported.clear();
        // A program that was killed did not say that its connections have ended.
        for (const connection of this.#open.get(event.client) ?? []) {
          this.#endedAt.set(`${event.client} ${connection}`, at);
        }
        this.#open.delete(event.client);
        break;
      case 'opened':
        this.#open.set(event.client, (this.#open.get(event.client) ?? new Set()).add(event.connection));
        break;
      case 'ready':
        this.#ready(program, event.connection, event.identity);
        break;
      case 'sent':
        this.#sent(program, event.connection, event.sequence, at);
        break;
      case 'outcome': {
        const attempt = this.#attempt(program, event.connection, event.sequence);
        if (attempt) Object.assign(attempt, { outcome: event.outcome, reason: event.reason, outcomeAt: at });
        break;
      }
      case 'watermark':
        this.#issue(program, event, at);
        break;
      case 'ended':
        this.#open.get(event.client)?.delete(event.connection);
        this.#endedAt.set(`${event.client} ${event.connection}`, at);
        break;
      case 'reported':
        program.reported.add(event.sequence);
        break;
      case 'durable':
        this.#durable(program, event.sequence, at);
        break;
      case 'finished':
        program.isFinished = true;
        if (program.durable < program.plan.operations.at(-1)!.sequence) {
          this.#report('watermark', `client ${event.client} is done, and only ${program.durable} is durable`);
        }
        break;
      default:
    }
  }

  #ready(program: Program, connection: number, identity: string): void {
    this.#identities.set(`${program.plan.client} ${connection}`, identity);
    if (program.identity === identity) return;
    program.identity = identity;
    program.operations = new Map();
  }

  #sent(program: Program, connection: number, sequence: number, at: number): void {
    const { client, tenant } = program.plan;
    const plan = program.bySequence.get(sequence);
    if (!plan) {
      this.#report('protocol', `client ${client} has sent ${sequence}, which is not in its plan`);
      return;
    }
    let operation = program.operations.get(sequence);
    if (!operation) {
      const { identity } = program;
      operation = {
        client,
        tenant,
        identity,
        plan,
        attempts: [],
        firstSent: at,
        took: false,
        isForeign: false,
      };
      program.operations.set(sequence, operation);
      this.operations.push(operation);
      this.#list(identity, operation);
    }
    operation.attempts.push({ connection, sentAt: at, doneAt: Infinity });
  }

  #list(identity: string, operation: Operation): void {
    const { tenant, plan } = operation;
    const tenants = this.#documents.get(identity) ?? new Map<string, Map<string, Operation[]>>();
    const documents = tenants.get(tenant) ?? new Map<string, Operation[]>();
    const operations = documents.get(plan.id) ?? [];
    operations.push(operation);
    documents.set(plan.id, operations);
    tenants.set(tenant, documents);
    this.#documents.set(identity, tenants);
  }

  #attempt(program: Program, connection: number, sequence: number): Attempt | undefined {
    return program.operations
      .get(sequence)
      ?.attempts.findLast((attempt) => attempt.connection === connection);
  }

  #issue(program: Program, event: Extract<HistoryEvent, { kind: 'watermark' }>, at: number): void {
    const { client, connection, sequence, token } = event;
    const { tenant } = program.plan;
    if (token === '') return;
    const identity = this.#identities.get(`${client} ${connection}`) ?? '';
    const madeAfter = this.#attempt(program, connection, sequence)?.sentAt ?? 0;
    const issued = this.#tokens.get(token) ?? [];
    issued.push({ identity, client, tenant, sequence, at, madeAfter });
    this.#tokens.set(token, issued);
    if (!token.startsWith(identity)) {
      this.#report('watermark', `client ${client} is at ${identity} and was given the token ${token}`);
    }
  }

  /** The program has been told that everything up to a sequence is durable. */
  #durable(program: Program, sequence: number, at: number): void {
    const { client, operations } = program.plan;
    for (const { sequence: each } of operations) {
      if (each <= program.durable || each > sequence) continue;
      const operation = program.operations.get(each);
      const attempt = operation?.attempts.at(-1);
      if (!operation || !attempt) {
        this.#report('watermark', `${client}/${each} is said to be durable, and was never sent`);
        continue;
      }
      if (!program.reported.has(each)) {
        this.#report('watermark', `${client}/${each} is said to be durable, and has no outcome`);
      }
      if ((this.#droppedAt.get(operation.identity) ?? Infinity) < attempt.sentAt) {
        this.#report(
          'lost',
          `${client}/${each} was acknowledged by a collection that was gone when it was sent`,
        );
      }
      operation.ackedAt = at;
      attempt.doneAt = at;
    }
    program.durable = Math.max(program.durable, sequence);
  }

  /** Sums an operation up, when all is known of it. */
  #close(operation: Operation): void {
    const { attempts, ackedAt } = operation;
    // An outcome that a client did not hear of is as good as one that the next attempt brought.
    const last = attempts.findLast(({ outcome }) => outcome !== undefined);
    operation.took = ackedAt !== undefined && last?.outcome !== 'rejected';
    if (ackedAt !== undefined) this.acknowledged++;
    let done = Infinity;
    for (const attempt of attempts.toReversed()) {
      done = Math.min(done, attempt.doneAt);
      attempt.doneAt = done;
    }
  }

  /** What was sent to one collection, and may have come into another one. */
  #addForeign(events: readonly HistoryEvent[]): void {
    const restoredFrom = new Map(
      events.flatMap((event) => (event.kind === 'restored' ? [[event.identity, event.from] as const] : [])),
    );
    const own = [...this.operations];
    for (const identity of new Set([...this.#documents.keys(), ...restoredFrom.keys()])) {
      const bases = new Set<string>();
      for (let from = restoredFrom.get(identity); from !== undefined; from = restoredFrom.get(from)) {
        bases.add(from);
      }
      for (const operation of own) {
        if (operation.identity === identity) continue;
        const gone = this.#goneFrom.get(operation.identity) ?? Infinity;
        // A stream that was open when its collection went may have written into the one that came after.
        const wasOpen = operation.attempts.some(
          ({ connection }) => (this.#endedAt.get(`${operation.client} ${connection}`) ?? Infinity) > gone,
        );
        if (bases.has(operation.identity) || wasOpen) {
          this.#list(identity, { ...operation, took: false, isForeign: true });
        }
      }
    }
  }
}

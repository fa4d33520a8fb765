import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ScalingnoteError } from '../../clients/errors.ts';
import type { DocumentState } from './history.ts';
import { Journal, monotonic } from './journal.ts';
import type { Verdict } from './judge.ts';
import { CLOCK_OFF_MS, type Mishap, type MishapKind, planRun, type RunPlan } from './plan.ts';
import type { Site } from './site.ts';

/** How long no client may come further after the last mishap, in milliseconds: they wait seconds between attempts. */
const PATIENCE_MS = 90_000;

/** Processes that the clients share; both write for all tenants. */
const CLIENT_PROCESSES = 2;

/** Pause between two searches with a token, in milliseconds. */
const READ_EVERY_MS = 80;

/** What came of one run. */
export interface Ran extends Verdict {
  seed: number;
  mishaps: MishapKind[];
  sometimes: Record<string, number>;
  /** Where plan and journals are, if something was found. */
  folder: string;
}

/** Runs the plan of a seed at a site, and has it judged. */
export async function oneRun(parts: {
  site: Site;
  /** The process that judges. */
  checker: ChildProcess;
  /** Folder for the folders of runs. */
  base: string;
  seed: number;
  operations: number;
}): Promise<Ran> {
  const { site, checker, base, seed, operations } = parts;
  const folder = join(base, `run-${seed}`);
  mkdirSync(folder);
  const plan = planRun(seed, operations);
  writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan));
  const run = new Run(site, plan, folder);
  const mishaps = await run.run();
  checker.send(folder);
  const [verdict] = (await once(checker, 'message')) as [Verdict & Pick<Ran, 'sometimes'>];
  if (verdict.violations.length === 0) rmSync(folder, { recursive: true });
  return { seed, mishaps, folder, ...verdict };
}

/** What a client process reports of a watermark. */
interface Token {
  token: string;
  tenant: string;
}

class Run {
  readonly #site: Site;
  readonly #plan: RunPlan;
  readonly #folder: string;
  readonly #journal: Journal;
  readonly #clients: (ChildProcess | undefined)[] = [];
  /** Of watermarks, with the tenants whose they are. */
  readonly #tokens: Token[] = [];
  readonly #over = new AbortController();
  readonly #happened: MishapKind[] = [];
  /** When a client came further last, as of `performance.now()`. */
  #progressed = 0;
  /** What changes a service waits for what changed it before. */
  readonly #last = { document: Promise.resolve(), query: Promise.resolve() };
  #begin = (): void => {};
  readonly #begun = new Promise<void>((resolve) => (this.#begin = resolve));

  constructor(site: Site, plan: RunPlan, folder: string) {
    this.#site = site;
    this.#plan = plan;
    this.#folder = folder;
    this.#journal = new Journal(join(folder, 'world.jsonl'));
  }

  async run(): Promise<MishapKind[]> {
    const { signal } = this.#over;
    const clients = Array.from({ length: CLIENT_PROCESSES }, (_, process) => this.#keepAlive(process));
    const reader = this.#read(signal);
    await this.#begun;
    const began = Date.now();
    const mishaps = this.#plan.mishaps.map(async (mishap) => {
      await sleep(Math.max(0, began + mishap.at - Date.now()));
      await this.#befall(mishap);
    });
    await Promise.all(mishaps);
    this.#progressed = performance.now();
    await Promise.race([Promise.all(clients), this.#standstill(signal)]);
    this.#over.abort();
    for (const client of this.#clients) client?.kill('SIGKILL');
    await reader;
    await this.#final();
    this.#journal.close();
    return this.#happened;
  }

  /** Resolves when no client comes further any more. */
  async #standstill(over: AbortSignal): Promise<void> {
    while (!over.aborted && performance.now() - this.#progressed < PATIENCE_MS) {
      await sleep(500, undefined, { signal: over }).catch(() => {});
    }
  }

  /** Runs the programs of a process until they have come to their ends; where it is killed, once more. */
  async #keepAlive(index: number): Promise<void> {
    const own = this.#plan.clients.flatMap((_, client) =>
      client % CLIENT_PROCESSES === index ? [String(client)] : [],
    );
    const module = new URL('client.child.js', import.meta.url);
    for (let isDone = false; !isDone && !this.#over.signal.aborted;) {
      const child = fork(module, [this.#folder, this.#site.document.address, ...own], {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
      this.#clients[index] = child;
      child.on('message', (token) => {
        this.#tokens.push(token as Token);
        this.#progressed = performance.now();
        this.#begin();
      });
      const [code] = (await once(child, 'exit')) as [number | null];
      isDone = code === 0;
    }
    this.#clients[index] = undefined;
    this.#begin();
  }

  async #read(over: AbortSignal): Promise<void> {
    using queries = this.#site.queries();
    const { collection } = this.#plan;
    for (let turn = 0; !over.aborted; turn++) {
      await sleep(READ_EVERY_MS);
      const recent = this.#tokens.at(-1 - (turn % 3));
      if (recent === undefined) continue;
      const { token, tenant } = recent;
      const from = monotonic();
      try {
        const request = { collection, tenant, query: 'anything', limit: 1000, atLeastAsFreshAs: token };
        const { hits } = await queries.search(request);
        const documents = hits.map(({ id, version, title, text, metadata }): DocumentState => ({
          id,
          version,
          title,
          passages: [text],
          metadata,
        }));
        this.#journal.record({ kind: 'read', from, tenant, token, clocks: clocks(), documents });
      } catch (error) {
        // It may be away, or say that it can't be as fresh as that: it is only wrong to answer with less.
        if (!(error instanceof ScalingnoteError)) throw error;
      }
    }
  }

  async #befall({ kind, ms, client }: Mishap): Promise<void> {
    const { document, query } = this.#site;
    if (kind === 'disk full' && this.#site.noDisk !== undefined) return;
    this.#happened.push(kind);
    switch (kind) {
      case 'connections cut':
        await document.proxy.cut();
        await sleep(ms);
        await document.proxy.mend();
        break;
      case 'connections cut unnoticed':
        document.proxy.abandon(ms);
        break;
      case 'connections delayed':
        document.proxy.delay(() => Math.floor(Math.random() * 40));
        await sleep(ms);
        document.proxy.delay(() => 0);
        break;
      case 'document service killed':
      case 'document service drained':
      case 'clock off':
        await this.#inTurn('document', async () => {
          await document.stop(kind === 'document service drained' ? 'SIGTERM' : 'SIGKILL');
          await sleep(ms);
          const sign = client % 2 === 0 ? 1 : -1;
          await document.start(kind === 'clock off' ? sign * CLOCK_OFF_MS : 0);
        });
        break;
      case 'document service stopped':
        await this.#inTurn('document', () => document.hold(ms));
        break;
      case 'query service killed':
        await this.#inTurn('query', async () => {
          await query.stop('SIGKILL');
          await sleep(ms);
          await query.start();
        });
        break;
      case 'query service stopped':
        await this.#inTurn('query', () => query.hold(ms));
        break;
      case 'client killed':
        this.#clients[client % CLIENT_PROCESSES]?.kill('SIGKILL');
        break;
      case 'client stopped':
        this.#clients[client % CLIENT_PROCESSES]?.kill('SIGSTOP');
        await sleep(ms);
        this.#clients[client % CLIENT_PROCESSES]?.kill('SIGCONT');
        break;
      case 'disk full':
        await this.#site.fill(ms);
        break;
      default:
        await this.#inTurn('document', () => this.#drop());
    }
  }

  async #inTurn(service: 'document' | 'query', work: () => Promise<void>): Promise<void> {
    const turn = this.#last[service].then(work);
    this.#last[service] = turn.catch(() => {});
    await turn;
  }

  async #drop(): Promise<void> {
    using documents = this.#site.documents();
    const from = monotonic();
    const find = async () => {
      const all = await documents.listCollections();
      return all.find(({ name }) => name === this.#plan.collection);
    };
    const found = await find();
    if (!found) return;
    await documents.dropCollection(found.physicalName, { withAliases: true }).catch((error: unknown) => {
      if (!(error instanceof ScalingnoteError)) throw error;
    });
    const left = await find();
    if (left?.identity !== found.identity) {
      this.#journal.record({ kind: 'dropped', identity: found.identity, from });
    }
  }

  /** Writes down what is stored in the end, and removes it. */
  async #final(): Promise<void> {
    using documents = this.#site.documents();
    const { collection, tenants } = this.#plan;
    const found = (await documents.listCollections()).find(({ name }) => name === collection);
    if (!found) return;
    for (const tenant of tenants) {
      const all: DocumentState[] = [];
      for await (const document of documents.exportDocuments({ collection, tenant })) {
        const { id, version, title, text, metadata } = document;
        const passages = document.passages.map((passage) => passage.text);
        all.push({ id, version, title, ...(text !== undefined && { text }), passages, metadata });
      }
      const counted = await documents.count({ collection, tenant });
      const { identity } = found;
      this.#journal.record({ kind: 'final', identity, tenant, clocks: clocks(), documents: all, counted });
    }
    await documents.dropCollection(found.physicalName, { withAliases: true });
  }
}

/** Some process may have a clock that is off. */
function clocks(): { least: number; most: number } {
  const now = Date.now();
  return { least: now - CLOCK_OFF_MS, most: now + CLOCK_OFF_MS };
}

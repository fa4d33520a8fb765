import type { runIngest } from '../../clients/ingest.ts';
import { Simulation } from '../../store/testing/simulation.ts';
import type { ClientPlan, History } from '../faults/history.ts';
import { judge, type Verdict } from '../faults/judge.ts';
import { type Checkpoint, runProgram } from '../faults/program.ts';
import { recordCall } from '../faults/record-call.ts';
import { MUTANTS, NO_MUTANT } from './mutants.ts';
import { planOf, VERSION_NAMES, type Versions } from './plan.ts';
import { type Counts, pathsOf } from './sometimes.ts';
import type { FaultMix } from './fault-mix.ts';
import { COLLECTION, World } from './world.ts';

/** Readers that search with the tokens of watermarks. */
const READERS = 2;
/** Most searches of each: to judge one takes longer than to make it. */
const READS = 8;

/** What came of one seed. */
export interface Simulated {
  seed: number;
  history: History;
  verdict: Verdict;
  counts: Counts;
}

/** What to simulate besides what a seed decides. */
export interface SimulateOptions {
  /** Name of a fault of the product to put in. */
  mutant?: string;
  /** Let the fault come about that the product is known to have: see `docs/faults.md`. */
  known?: boolean;
}

/** Simulates what a seed decides. */
export async function simulate(
  seed: number,
  { mutant, known = false }: SimulateOptions = {},
): Promise<Simulated> {
  const simulation = new Simulation(seed);
  const uninstall = simulation.install();
  try {
    const made = mutant === undefined ? NO_MUTANT : MUTANTS[mutant]!();
    const versions = known ? 'none' : simulation.pick(VERSION_NAMES);
    const mix = known ? KNOWN : faultsOf(simulation, versions);
    const clients = planOf(simulation, versions);
    const world = new World(simulation, mix, made);
    const tenants = [...new Set(clients.map(({ tenant }) => tenant))];
    const problem = await simulation.run(runAll(world, clients)).then(
      () => undefined,
      (error: unknown) => error as Error,
    );
    await simulation.run(world.close(tenants));
    const history = { clients, events: world.events };
    const verdict = judge(history);
    if (problem) verdict.violations.unshift({ fault: 'protocol', what: problem.stack ?? problem.message });
    return { seed, history, verdict, counts: pathsOf(history, world.counts) };
  } finally {
    uninstall();
  }
}

/** A server that works on for a client that is gone, and operations without versions. */
const KNOWN: FaultMix = {
  store: false,
  full: false,
  tower: true,
  cuts: true,
  halfOpen: true,
  drains: true,
  crashes: false,
  drops: false,
  restores: false,
  jumps: false,
  clientKills: false,
  latency: 10,
  calm: 200,
};

/** Each seed has most faults, and each pair of faults is together in some and apart in others. */
function faultsOf(simulation: Simulation, versions: Versions): FaultMix {
  const has = (): boolean => simulation.chance(0.6);
  const drains = has();
  const clientKills = has();
  return {
    store: has(),
    full: has(),
    tower: has(),
    cuts: has(),
    // Where the client begins again by another program, or over another server, what such a server still writes may win
    // over what came after it, unless versions grow.
    halfOpen: has() && (versions === 'growing' || !(drains || clientKills)),
    drains,
    crashes: has(),
    drops: simulation.chance(0.15),
    restores: simulation.chance(0.15),
    jumps: has(),
    clientKills,
    latency: simulation.pick([2, 10, 40]),
    calm: simulation.pick([200, 1000, 4000]),
  };
}

async function runAll(world: World, clients: readonly ClientPlan[]): Promise<void> {
  const over = new AbortController();
  const programs = new Programs(world);
  const helpers = [
    misfortune(world, programs, over.signal),
    replicate(world, over.signal),
    ...Array.from({ length: READERS }, () => read(world, clients, over.signal)),
  ];
  try {
    await Promise.all(clients.map((plan) => programs.run(plan)));
  } finally {
    over.abort();
    await Promise.all(helpers);
  }
}

/** The clients' programs: each begins again until all that it has to send is durable. */
class Programs {
  readonly #world: World;
  readonly #running = new Map<string, AbortController>();

  constructor(world: World) {
    this.#world = world;
  }

  async run(plan: ClientPlan): Promise<void> {
    const world = this.#world;
    const { simulation } = world;
    const { client } = plan;
    let checkpoint: Checkpoint = { sequence: 0, identity: '' };
    // What is kept on disk may be behind what was received.
    const keepsAlways = simulation.chance(0.5);
    const window = simulation.pick([4, 16, 64]);
    await simulation.pause(simulation.below(50));
    let connections = 0;
    for (let isDone = false; !isDone;) {
      const life = new AbortController();
      this.#running.set(client, life);
      isDone = await runProgram({
        plan,
        checkpoint,
        connect: () => {
          const { client: call } = world.connect();
          recordCall(call, client, ++connections, world.recordClient);
          world.mutant.client?.(call, connections);
          return call as unknown as ReturnType<Parameters<typeof runIngest>[0]>;
        },
        options: { collection: COLLECTION, window, signal: life.signal },
        beforeEach: () => (simulation.chance(0.2) ? simulation.pause(simulation.below(20)) : undefined),
        record: world.recordClient,
        keep: (reached) => {
          if (keepsAlways || reached.sequence === 0 || simulation.chance(0.3)) checkpoint = reached;
        },
      });
      this.#running.delete(client);
      if (life.signal.aborted) {
        world.happened(
          checkpoint.sequence > 0 ? 'client killed and resumed' : 'client killed before its first watermark',
        );
      }
      if (!isDone) await simulation.pause(simulation.below(50));
    }
  }

  /** Kills one of the programs that run. */
  kill(): void {
    const running = [...this.#running.values()];
    if (running.length > 0) this.#world.simulation.pick(running).abort();
  }
}

/** Brings misfortune over the world until it is over. */
async function misfortune(world: World, programs: Programs, over: AbortSignal): Promise<void> {
  const { simulation, mix } = world;
  let backup: ReturnType<World['backup']>;
  const mishaps: (() => Promise<void> | void)[] = [];
  if (mix.cuts) {
    const cut = (): void => {
      if (world.connections.size === 0) return;
      world.happened('connection cut');
      simulation.pick([...world.connections]).cut();
    };
    mishaps.push(cut, cut, cut);
  }
  if (mix.drains) mishaps.push(() => world.drain());
  if (mix.crashes) mishaps.push(() => world.crash());
  if (mix.jumps) mishaps.push(() => world.jump(simulation.pick([-3_600_000, -500, 500, 3_600_000])));
  if (mix.clientKills) mishaps.push(() => programs.kill());
  // A collection that went again and again would never be full.
  let left = 3;
  if (mix.drops) mishaps.push(() => (left-- > 0 ? world.drop() : undefined));
  if (mix.restores) {
    mishaps.push(() => {
      if (left-- <= 0) return;
      if (backup) world.restore(backup);
      backup = world.backup();
    });
  }
  while (!over.aborted) {
    await simulation.pause(20 + simulation.below(mix.calm), over).catch(() => {});
    if (!over.aborted && mishaps.length > 0) await simulation.pick(mishaps)();
  }
}

async function replicate(world: World, over: AbortSignal): Promise<void> {
  const { simulation } = world;
  while (!over.aborted) {
    await world.replicate();
    await simulation.pause(simulation.below(world.mix.calm / 4), over).catch(() => {});
  }
}

async function read(world: World, clients: readonly ClientPlan[], over: AbortSignal): Promise<void> {
  const { simulation } = world;
  const tenants = new Map(clients.map(({ client, tenant }) => [client, tenant]));
  for (let reads = 0; reads < READS && !over.aborted; reads++) {
    await simulation.pause(20 + simulation.below(world.mix.calm), over).catch(() => {});
    const recent = world.tokens.slice(-8);
    if (over.aborted || recent.length === 0) continue;
    // A token says how far one tenant has come.
    const { client, token } = simulation.pick(recent);
    await world.read(tenants.get(client)!, token);
  }
}

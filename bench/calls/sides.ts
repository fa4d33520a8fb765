import { startProcess, type Process } from '../../services/runtime/testing/processes.ts';
import { generate } from '../load/generator.ts';
import type { Phase } from '../load/load.ts';
import { LeanGrpc } from '../qdrant/load.ts';
import { cpuMicros } from '../query-service.ts';

/** Of a message of gRPC: a flag, and its length. */
const PREFIX_BYTES = 5;

/** One server, and what to call there. */
export interface Side {
  service: Process;
  /** `/package.Service/Method`. */
  path: string;
  /** Whole messages with their prefixes, each of them different. */
  bodies: readonly Buffer[];
  /** Metadata of every call. @default none */
  headers?: Readonly<Record<string, string>>;
  /** Connections that the calls go over. @default 1 */
  connections?: number;
  /** The CA of a server that speaks TLS, as PEM. @default plain text */
  ca?: string;
}

/** What the callers of a side saw in one stretch. */
export interface Seen {
  perSecond: number;
  p50: number;
  p99: number;
  /** Share of the calls that were refused or failed. */
  lost: number;
  /** Processor time of all threads of the server, for each call, in microseconds. */
  cpuMicros: number;
  /** Cores that the load generator took, which a server on the same machine does not have. */
  generatorCores: number;
}

/** Before a stretch is measured: the server's memory comes back into the caches, the generator is compiled. */
const LEAD_IN_MS = 400;

/** A side is warm when a stretch has no more calls than the one before and this share, or after so many. */
const STABLE = 0.05;
const WARM_MS = 1500;
const MOST_WARM_UPS = 8;

/** Starts a bare server of grpc-js that gives each call of a method an answer of so many bytes. */
export function startEcho(answerBytes: Readonly<Record<string, number>>): Promise<Process> {
  const methods = Object.entries(answerBytes).map(([path, length]) => `${path}=${length}`);
  return startProcess(new URL('./echo.child.js', import.meta.url), methods, {});
}

/** A caller whose call was refused waits, as clients do: calls that are refused cost little, and would be most of them. */
const BACK_OFF_MS = 20;

/** So many callers, each of whom calls again as soon as it has its answer. */
export function closedLoop(side: Side, callers: number, ms: number): Promise<Seen> {
  return stretch(side, (name, length) => ({ name, ms: length, callers, backOffMs: BACK_OFF_MS }), ms);
}

/** So many calls a second that begin at random times, whatever becomes of those before. */
export function openLoop(side: Side, perSecond: number, ms: number): Promise<Seen> {
  return stretch(side, (name, length) => ({ name, ms: length, rate: perSecond, arrivals: 'poisson' }), ms);
}

/** The length of a server's answer, to make a peer that answers as much. */
export async function answerBytes({ service, path, bodies }: Side): Promise<number> {
  const client = new LeanGrpc(service.address);
  try {
    return (await client.call(path, [bodies[0]!])).length - PREFIX_BYTES;
  } finally {
    client.close();
  }
}

/** Calls a side until it does not get faster any more. */
export async function warmUp(side: Side, callers: number): Promise<void> {
  let before = 0;
  for (let turn = 0; turn < MOST_WARM_UPS; turn++) {
    const { perSecond } = await closedLoop(side, callers, WARM_MS);
    if (perSecond < before * (1 + STABLE)) return;
    before = perSecond;
  }
}

async function stretch(
  { service, path, bodies, headers = {}, connections = 1, ca }: Side,
  phase: (name: string, ms: number) => Phase,
  ms: number,
): Promise<Seen> {
  const at = service.address.lastIndexOf(':');
  const plan = {
    host: service.address.slice(0, at),
    port: Number(service.address.slice(at + 1)),
    path,
    bodies,
    headers,
    ca,
    deadlineMs: undefined,
    connections,
    seed: 1,
  };
  const cpu = cpuMicros(service.child.pid!);
  const { phases, cpuShare } = await generate({
    ...plan,
    phases: [phase('lead-in', LEAD_IN_MS), phase('measured', ms)],
  });
  const spent = cpuMicros(service.child.pid!);
  const { accepted, offered, seconds } = phases[1]!;
  const calls = phases.reduce((sum, each) => sum + each.accepted.count, 0);
  return {
    perSecond: accepted.count / seconds,
    p50: accepted.p50,
    p99: accepted.p99,
    lost: 1 - accepted.count / Math.max(1, offered),
    cpuMicros: cpu === undefined || spent === undefined ? Number.NaN : (spent - cpu) / calls,
    generatorCores: cpuShare,
  };
}

import { usageOf } from '../../bench/overload/ground.ts';
import { FLOODS, floodOf } from './kinds/http2.ts';
import { sendAlone } from './own-connection.ts';
import { Sender } from './sender.ts';
import type { Site } from './site.ts';

/** What a flood on one connection costs a service. */
export interface FloodCost {
  flood: string;
  /** Bytes that the flood sends. */
  bytes: number;
  /** How the connection ended. */
  end: string;
  /** Processor time of the service, in milliseconds; what it does by itself meanwhile is in it. */
  cpuMs: number;
  /** Memory that it did not give back at once, in MiB. */
  grownMib: number;
  /** What a good search is answered with while it lasts. */
  search: string;
}

const SEARCH = '/scalingnote.v1.QueryService/Search';
const HANG_MS = 60_000;

/** Sends each flood once to the open query service. @param count of what it repeats */
export async function floodCosts(site: Site, count: number): Promise<FloodCost[]> {
  const sender = new Sender(site);
  await sender.fill();
  const { address, pid } = site.open.query;
  const costs: FloodCost[] = [];
  for (const flood of FLOODS) {
    const frames = floodOf(flood, count, SEARCH);
    const before = usageOf(pid);
    const sent = sendAlone(address, { on: 'http2', frames }, HANG_MS);
    const canary = sender.canary();
    const { statuses } = await sent;
    const search = (await canary) ?? 'OK';
    const { cpuMs, rssBytes } = usageOf(pid);
    costs.push({
      flood,
      bytes: frames.reduce((sum, frame) => sum + frame.length, 0),
      end: [...new Set(statuses)].join(' ') || 'answered',
      cpuMs: cpuMs - before.cpuMs,
      grownMib: Math.round((rssBytes - before.rssBytes) / 2 ** 20),
      search,
    });
  }
  sender.close();
  return costs;
}

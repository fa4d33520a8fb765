import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tower } from '../../towers/tower.ts';
import type { Evaluation } from './evaluate.ts';
import { mean } from './metrics.ts';
import type { Speed } from './speed.ts';

/** A query tower over all data sets. */
export interface TowerSummary {
  queryTower: string;
  /** `lookup`, `transformer:2`, ...; absent for a tower that is no student. */
  student?: string;
  parameters?: number;
  /** Size of all its files. */
  bytes: number;
  heldOutCosine?: number;
  /** Means over the data sets. */
  retention: { ndcg10: number; recall50: number };
  /** Means over the data sets; absent where speed was not measured. */
  speed?: Speed;
  /** Whether no other tower is both faster and better. */
  onFront: boolean;
  /** Held-out cosine during its training, where its folder still has it. */
  curve?: { step: number; heldOutCosine: number }[];
}

/** What `eval` found on one or several data sets. */
export interface Report {
  documentTower: string;
  evaluations: readonly Evaluation[];
  /** The document tower first. */
  towers: TowerSummary[];
}

/**
 * Puts evaluations of the same towers on several data sets together.
 *
 * @param towers - the document tower, then the query towers, as they were evaluated
 */
export async function summarize(
  evaluations: readonly Evaluation[],
  towers: readonly Tower[],
): Promise<Report> {
  const summaries = await Promise.all(
    towers.map(async ({ manifest, directory }, index): Promise<TowerSummary> => {
      const results = evaluations.map(({ results }) => results[index]!);
      const { student, parameters, heldOutCosine } = manifest.distillation ?? {};
      const speeds = results.flatMap(({ speed }) => (speed === undefined ? [] : [speed]));
      const curve = await readCurve(directory);
      return {
        queryTower: manifest.name,
        ...(student !== undefined && { student }),
        ...(parameters !== undefined && { parameters }),
        bytes: await bytesOf(directory, Object.keys(manifest.files)),
        ...(heldOutCosine !== undefined && { heldOutCosine }),
        retention: {
          ndcg10: mean(results.map(({ retention }) => retention.ndcg10)),
          recall50: mean(results.map(({ retention }) => retention.recall50)),
        },
        ...(speeds.length > 0 && { speed: meanSpeed(speeds) }),
        onFront: false,
        ...(curve && { curve }),
      };
    }),
  );
  return {
    documentTower: evaluations[0]!.documentTower,
    evaluations,
    towers: summaries.map((tower) => ({
      ...tower,
      onFront: !summaries.some((other) => beats(other, tower)),
    })),
  };
}

/** Whether one tower is at least as fast and as good as another, and better in one of the two. */
function beats(one: TowerSummary, other: TowerSummary): boolean {
  const [a, b] = [one.speed?.encodePerSecond ?? 0, other.speed?.encodePerSecond ?? 0];
  const [x, y] = [one.retention.ndcg10, other.retention.ndcg10];
  return a >= b && x >= y && (a > b || x > y);
}

function meanSpeed(speeds: readonly Speed[]): Speed {
  const over = (key: keyof Speed): number => mean(speeds.map((speed) => speed[key]));
  return {
    p50Ms: over('p50Ms'),
    p99Ms: over('p99Ms'),
    encodePerSecond: over('encodePerSecond'),
    speedup: over('speedup'),
  };
}

async function bytesOf(directory: string, files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(directory, file))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Reads the curve that `distill` leaves beside a tower. */
async function readCurve(directory: string): Promise<TowerSummary['curve']> {
  try {
    const { curve } = JSON.parse(await readFile(join(directory, 'training.json'), 'utf8')) as {
      curve: { step: number; heldOutCosine: number }[];
    };
    return curve.map(({ step, heldOutCosine }) => ({ step, heldOutCosine }));
  } catch {
    return undefined;
  }
}

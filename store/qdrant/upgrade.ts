import { StoreError } from '../errors.ts';
import { newIdentity } from '../names.ts';
import type { CallOptions } from '../store.ts';
import { bodyId, FIRST_LAYOUT, LAYOUT, NO_PASSAGE } from './layout.ts';
import type { Points } from './points.ts';
import { hiddenPoint } from './prepare.ts';
import { Failure } from './transport/failure.ts';
import { sleep } from './transport/bounds.ts';

/** What a step does to a collection. Every call may be made again, and by two processes at once. */
export interface Upgrade {
  readonly physical: string;
  readonly points: Points;
  /** In the metadata; a restore of a backup gives one to a collection of any layout. */
  readonly identity: string | undefined;
  /** Has the missing payload indexes made; the server may go on with that afterwards. */
  index(options: CallOptions): Promise<void>;
  /** Merges metadata into those of the collection, in one step. */
  describe(metadata: Readonly<Record<string, unknown>>, options: CallOptions): Promise<void>;
}

/**
 * The steps from each layout to the next. The last thing that a step does is to write the new layout down, so that one
 * that dies has changed nothing that an older program minds, and the next process does it again.
 */
const STEPS: readonly ((upgrade: Upgrade, options: CallOptions) => Promise<void>)[] = [
  // 1 to 2: an identity, and indexes for what is new in the points. The points stay as they are. The indexes come second:
  // making them takes minutes in a large collection, and a write would wait for that.
  async (upgrade, options) => {
    const identity = upgrade.identity ?? (await claimIdentity(upgrade.points, options));
    await upgrade.index(options);
    await upgrade.describe({ layout: 2, identity }, options);
  },
  // 2 to 3: an index of the words of passages. Points from before have none.
  async (upgrade, options) => {
    await upgrade.index(options);
    await upgrade.describe({ layout: 3 }, options);
  },
];

/**
 * Brings a collection up to date.
 *
 * @param layout as its metadata have it; `undefined` for none
 * @returns whether something changed
 * @throws {StoreError} `COLLECTION_LAYOUT` if the layout is newer, or we may not change it
 */
export async function upgrade(target: Upgrade, layout: unknown, options: CallOptions): Promise<boolean> {
  const { physical } = target;
  const found = layout ?? FIRST_LAYOUT;
  if (found === LAYOUT) return false;
  if (typeof found !== 'number' || !Number.isInteger(found) || found < FIRST_LAYOUT || found > LAYOUT) {
    throw layoutError(
      physical,
      found,
      `is of layout ${JSON.stringify(found)}, and this program knows layouts up to ${LAYOUT}; use a newer scalingnote`,
    );
  }
  try {
    for (const step of STEPS.slice(found - FIRST_LAYOUT)) await step(target, options);
    return true;
  } catch (error) {
    if (!(error instanceof Failure && error.error.reason === 'STORE_PERMISSION_DENIED')) throw error;
    throw layoutError(
      physical,
      found,
      `is of layout ${found}, and this API key may not bring it to layout ${LAYOUT}; start a document service on it first`,
      error.error,
    );
  }
}

function layoutError(physical: string, found: unknown, what: string, cause?: StoreError): StoreError {
  return new StoreError('COLLECTION_LAYOUT', `collection "${physical}" ${what}`, {
    metadata: { collection: physical, layout: JSON.stringify(found), known_layout: String(LAYOUT) },
    cause,
  });
}

/** Holds for no point: a point that is there already does not change. */
const NEVER = { must: [{ has_id: [] }] };

const CLAIM = bodyId('', 'identity', 0, 0);

/** Most looks at the claim, and the wait between them in milliseconds: a copy may not have it yet. */
const LOOKS = 20;
const LOOK_MS = 50;

/**
 * The identity of a collection that was made without one. Metadata have no conditional change, but points have: the
 * first process that writes this point decides, and all write the same identity down. The point stays, for the process
 * that comes late.
 */
async function claimIdentity(points: Points, options: CallOptions): Promise<string> {
  const payload = { passage: NO_PASSAGE, identity: newIdentity() };
  const claim = hiddenPoint(CLAIM, payload, "the collection's identity");
  await points.upsert([claim], { condition: NEVER, ordered: true }, options);
  for (let look = 1; look <= LOOKS; look++) {
    const found = (await points.retrieve([CLAIM], ['identity'], options)).get(CLAIM);
    if (found?.payload.identity !== undefined) return found.payload.identity;
    await sleep(LOOK_MS, options.signal);
  }
  throw new StoreError('STORE_UNAVAILABLE', 'Qdrant does not show what it has just stored; try again later');
}

import * as z from 'zod';
import { nameOf, parseStudent, type StudentKind } from '../../distill/request.ts';

const count = z.int().positive();
const rates = z.array(z.number().positive()).min(1);

/** How a tower is trained, by what it is to the claim. The teacher is what both stages begin with, and no arm of its own. */
export const ARMS = [
  'two-stage',
  'end-to-end',
  'frozen-documents',
  'labelled-queries',
  'no-relative',
] as const;
export type Arm = (typeof ARMS)[number];

/** What a student is in a recipe: its name, such as `transformer:2`, and the numbers of labelled pairs of its points. */
const Students = z
  .record(z.string(), z.array(count).min(1))
  .transform((students, context): ClaimStudent[] => {
    const found = Object.entries(students).flatMap(([name, pairs]) => {
      const kind = parseStudent(name);
      if (kind === undefined || nameOf(kind) !== name) return [];
      return [{ name, kind, pairs: [...new Set(pairs)].sort((a, b) => a - b) }];
    });
    const wrong = Object.keys(students).filter((name) => found.every((student) => student.name !== name));
    if (wrong.length === 0 && found.length > 0) return found;
    context.addIssue({
      code: 'custom',
      message: `"${wrong.join('", "')}" is no student: give lookup, transformer:N or transformer:NxWIDTH, one at the least`,
    });
    return z.NEVER;
  });

/** The grid of an experiment and how each of its towers is trained. */
export const Design = z
  .strictObject({
    /** Queries that everything is measured on. */
    heldOut: count,
    /** Queries that learning rates are chosen on; nobody is trained on them either. */
    development: count,
    /** Queries of stage 2, without labels: so many, or all that are not held out. */
    unlabelled: z.union([count, z.literal('all')]),
    students: Students,
    seeds: count,
    /** From so many pairs on there is one seed. @default never */
    oneSeedFrom: count.optional(),
    /** Labelled pairs at which rates are chosen, with the first seed. */
    chooseAt: count,
    batch: z.int().min(2),
    /** Longest text in training, in tokens. */
    maxTokens: count,
    /** Passes over the labelled pairs, of all towers that learn from them. */
    epochs: z.number().positive(),
    /** Steps on labelled pairs at the least: few pairs are seen more often. */
    leastSteps: count,
    /** Steps of stage 2 at the most; held-out texts may end it before. */
    distillSteps: count,
    rates: z.strictObject({
      teacher: rates,
      'two-stage': rates,
      'end-to-end': rates,
      'frozen-documents': rates,
      'labelled-queries': rates,
      'no-relative': rates,
    }),
  })
  .superRefine(({ students, chooseAt, oneSeedFrom }, context) => {
    for (const { name, pairs } of students) {
      if (pairs.includes(chooseAt)) continue;
      const message = `${name} has no point at ${chooseAt} pairs, where its rates are chosen: add it, or choose elsewhere`;
      context.addIssue({ code: 'custom', path: ['chooseAt'], message });
    }
    const largest = Math.max(...students.flatMap(({ pairs }) => pairs));
    if (oneSeedFrom !== undefined && oneSeedFrom > largest) {
      const message = `no point has ${oneSeedFrom} pairs: leave it out`;
      context.addIssue({ code: 'custom', path: ['oneSeedFrom'], message });
    }
  });
export type Design = z.infer<typeof Design>;

/** The paper's claim as an experiment: a file that says it all. */
export const ClaimRecipe = z.strictObject({
  base: z.string().default('all-MiniLM-L6-v2'),
  /** A file of pairs, or the name of pairs that can be made. */
  pairs: z.string(),
  /** Folder of everything that is made; paths are as seen from where the command runs. */
  out: z.string(),
  claim: Design,
  /** The same in less than an hour. */
  small: Design.optional(),
});
export type ClaimRecipe = z.infer<typeof ClaimRecipe>;

/** One tower that is trained and measured. */
export interface Cell {
  pairs: number;
  seed: number;
  rate: number;
}

/** A student of a design. */
export interface ClaimStudent {
  name: string;
  kind: StudentKind;
  pairs: readonly number[];
}

/** Seeds of a point, from 1. */
export function seedsAt({ seeds, oneSeedFrom = Infinity }: Design, pairs: number): number[] {
  return Array.from({ length: pairs >= oneSeedFrom ? 1 : seeds }, (_, index) => index + 1);
}

/** Steps on labelled pairs. */
export function stepsAt({ epochs, batch, leastSteps }: Design, pairs: number): number {
  return Math.max(leastSteps, Math.round((epochs * pairs) / batch));
}

/** All numbers of labelled pairs of a design, ascending. */
export function sizesOf({ students }: Design): number[] {
  return [...new Set(students.flatMap(({ pairs }) => pairs))].sort((a, b) => a - b);
}

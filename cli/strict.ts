import type { Command, Option } from 'commander';
import { UsageError } from './output/print.ts';

/**
 * What commander takes in silence is refused here: a flag that is given twice, of which it keeps the last, and a flag
 * that does nothing beside the others.
 */

/** Refuses a flag that is given twice, unless it collects its values. */
export function refuseRepeats(command: Command): void {
  const seen = new Set<string>();
  for (const option of command.options) {
    command.on(`option:${option.name()}`, () => {
      const name = option.attributeName();
      if (seen.has(name) && !Array.isArray(command.getOptionValue(name))) {
        command.error(`error: ${shown(option)} is given twice; give it once`, { exitCode: 2 });
      }
      seen.add(name);
    });
  }
}

type Values = Readonly<Record<string, unknown>>;

/** Flags that do something only beside others. */
interface Rule {
  /** As attributes: `consoleAddress`. */
  flags: readonly string[];
  /** Whether they do something. */
  when: (values: Values, args: readonly string[]) => boolean;
  /** Beside what, in words. */
  need: string;
}

const MAPPING = [
  'as',
  'idField',
  'titleField',
  'textField',
  'metadataField',
  'vector',
  'candidates',
  'sample',
];

/** By command. */
const RULES: Readonly<Record<string, readonly Rule[]>> = {
  search: [
    { flags: ['consoleAddress'], when: ({ trace }) => trace === true, need: 'belongs to --trace' },
    { flags: ['descending'], when: ({ sort }) => sort !== undefined, need: 'belongs to --sort' },
  ],
  trace: [
    {
      flags: ['slowest', 'failed', 'limit'],
      when: (_, args) => args.length === 0,
      need: 'is for a list of traces; leave out the trace-id',
    },
  ],
  up: [
    {
      flags: ['qdrantUrl', 'qdrantExact'],
      when: ({ store }) => store === 'qdrant',
      need: 'belongs to --store qdrant',
    },
  ],
  ingest: [
    {
      flags: ['documentTower'],
      when: ({ dryRun, verify }) => dryRun === true && verify !== true,
      need: 'belongs to --dry-run without --verify; a load is encoded by the tower of the service',
    },
    {
      flags: ['queryAddress'],
      when: ({ dryRun }) => dryRun !== true,
      need: 'is for what follows a load; leave it out with --dry-run',
    },
  ],
  distill: [
    {
      flags: ['tenant', 'documentAddress'],
      when: ({ collection }) => collection !== undefined,
      need: 'belongs to --collection',
    },
    {
      flags: ['maxTokensSpent'],
      when: ({ teacher }) => /^(?:remote|tei):/.test(String(teacher)),
      need: 'is for a --teacher on a server (remote: or tei:)',
    },
  ],
  train: [
    {
      flags: ['epochs'],
      when: ({ steps }) => steps === undefined,
      need: 'and --steps say the same thing; give one of them',
    },
    { flags: ['margin'], when: ({ mined }) => mined !== 0, need: 'needs mined negatives, and --mined is 0' },
  ],
  eval: [
    {
      flags: ['documentAddress', 'queryAddress'],
      when: ({ services, probe }) => services === true || probe !== undefined,
      need: 'belongs to --services or --probe',
    },
    {
      flags: ['collection', 'tenant', 'words', 'seed'],
      when: ({ probe }) => probe !== undefined,
      need: 'belongs to --probe',
    },
    {
      flags: ['tune', 'fusion', 'denseWeight'],
      when: ({ mode }) => mode !== undefined,
      need: 'belongs to --mode',
    },
    {
      flags: ['services', 'calibrate', 'ndcg', 'perQuery', 'runs', 'report'],
      when: ({ mode, probe }) => mode === undefined && probe === undefined,
      need: 'does not fit --mode and --probe',
    },
    {
      flags: ['dataset', 'mode', 'documentTower', 'queryTower', 'keepIdenticalIds'],
      when: ({ probe }) => probe === undefined,
      need: 'does not fit --probe, which asks the services',
    },
    {
      flags: ['calibrate'],
      when: ({ queryTower }) => Array.isArray(queryTower) && queryTower.length > 0,
      need: 'needs a --query-tower to write to',
    },
  ],
  'scaling-law': [
    {
      flags: [
        'small',
        'maxMinutes',
        'documents',
        'documentTokens',
        'queryTokens',
        'days',
        'queryRates',
        'entropies',
      ],
      when: ({ fromScratch }) => fromScratch === true,
      need: 'belongs to --from-scratch',
    },
  ],
  adopt: [
    {
      flags: [...MAPPING, 'withoutSearch', 'dryRun'],
      when: ({ release }) => release !== true,
      need: 'does not fit --release',
    },
  ],
};

/** @throws {UsageError} naming a flag that would be ignored */
export function refuseIdle(command: Command): void {
  const values = command.opts<Values>();
  for (const { flags, when, need } of RULES[command.name()] ?? []) {
    if (when(values, command.args)) continue;
    const idle = flags.find((flag) => command.getOptionValueSource(flag) === 'cli');
    if (idle !== undefined) throw new UsageError(`${flagOf(command, idle) ?? idle} ${need}`);
  }
}

/** Fields of the services' API that a flag fills in whose name differs. */
const RENAMED: Readonly<Record<string, string>> = {
  'analysis.language': 'language',
  at_least_as_fresh_as: 'fresh',
  score_threshold: 'threshold',
  explain_document_id: 'explain',
  'fusion.k': 'fusionK',
  percentile_threshold: 'minPercentile',
  with_count: 'count',
  facets: 'facet',
  'sort.field': 'sort',
  'fusion.dense_weight': 'denseWeight',
  snippet_length: 'snippet',
  with_document_text: 'whole',
  with_vectors: 'vectors',
  expected_freshness_token: 'resume',
  expected_identity: 'resume',
};

/** Fields that an argument fills in. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  query: 'text',
  ids: 'id',
  document_ids: 'id',
  physical_name: 'physical',
};

/** The beginning of a message of a service: a field, with what leads to it and what is in it. */
const FIELD = /^(?:begin\.)?(?<field>[a-z][a-z_]*)(?<rest>(?:\[\d+\]|\.[a-z_]+)*)(?=[: ])/;

/** A condition of a filter. */
const CONDITION = /^filter\.(?<clause>must|must_not)\[(?<index>\d+)\][\w.[\]]*/;

/**
 * A message of a service in the words of the command line: the flags that its fields came from. What no flag of the
 * command fills in stays as it is.
 */
export function inFlags(message: string, command: Command | undefined): string {
  if (command === undefined) return message;
  const begun = message
    .replace(CONDITION, (path) => conditionOf(path, command) ?? path)
    .replace(FIELD, (path: string, ...parts: unknown[]) => {
      const { field = '', rest = '' } = parts.at(-1) as { field?: string; rest?: string };
      // A field within a message may have a flag of its own.
      const own = rest === '' ? undefined : RENAMED[`${field}${rest}`];
      if (own !== undefined) return flagOf(command, own) ?? path;
      const name = nameOf(field, command);
      return name === undefined ? path : `${name}${rest}`;
    });
  // Elsewhere only what can be no word of the language.
  return begun.replaceAll(
    /(?<![\w."])[a-z]+(?:_[a-z]+)+(?![\w"])/g,
    (field) => nameOf(field, command) ?? field,
  );
}

/** The `--filter` that a path of a filter leads to, as the caller wrote it. */
export function conditionOf(path: string, command: Command): string | undefined {
  const { clause, index } = CONDITION.exec(path)?.groups ?? {};
  const flags: unknown = command.opts()['filter'];
  if (clause === undefined || !Array.isArray(flags)) return undefined;
  // "!=" alone goes into must_not; its field may hold one in quotes.
  const isNegative = (flag: string): boolean => /^(?:[^"=<>!]|"[^"]*")*!=/.test(flag);
  const own = (flags as string[]).filter((flag) => isNegative(flag) === (clause === 'must_not'));
  const found = own[Number(index)];
  return found === undefined ? undefined : `--filter ${JSON.stringify(found)}`;
}

function nameOf(field: string, command: Command): string | undefined {
  const argument = ARGUMENTS[field];
  if (argument !== undefined && command.registeredArguments.some((one) => one.name() === argument)) {
    return `<${argument}>`;
  }
  const attribute =
    RENAMED[field] ?? field.replaceAll(/_(?<letter>[a-z])/g, (_, letter: string) => letter.toUpperCase());
  return flagOf(command, attribute);
}

function flagOf(command: Command, attribute: string): string | undefined {
  return command.options.find((option) => option.attributeName() === attribute)?.long ?? undefined;
}

function shown(option: Option): string {
  return option.long ?? option.flags;
}

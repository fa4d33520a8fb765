import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ScalingnoteError } from '../clients/index.ts';
import { refuseSecrets, takeKeyFile, transportFailure } from './connection.ts';
import { note, UsageError } from './output/print.ts';
import { inFlags, refuseIdle, refuseRepeats } from './strict.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** Every command by name, in the order of the help. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  up: async () => (await import('./commands/up.ts')).up,
  ingest: async () => (await import('./commands/ingest.ts')).ingest,
  search: async () => (await import('./commands/search.ts')).search,
  get: async () => (await import('./commands/get.ts')).get,
  delete: async () => (await import('./commands/documents.ts')).deleteDocuments,
  count: async () => (await import('./commands/documents.ts')).count,
  export: async () => (await import('./commands/export.ts')).exportCommand,
  collections: async () => (await import('./commands/collections.ts')).collections,
  alias: async () => (await import('./commands/collections.ts')).alias,
  drop: async () => (await import('./commands/collections.ts')).drop,
  adopt: async () => (await import('./commands/adopt.ts')).adopt,
  copy: async () => (await import('./commands/copy.ts')).copy,
  backup: async () => (await import('./commands/backup.ts')).backup,
  restore: async () => (await import('./commands/restore.ts')).restore,
  status: async () => (await import('./commands/status.ts')).status,
  doctor: async () => (await import('./commands/doctor.ts')).doctor,
  towers: async () => (await import('./commands/towers.ts')).towers,
  pairs: async () => (await import('./commands/pairs.ts')).pairs,
  train: async () => (await import('./commands/train.ts')).train,
  distill: async () => (await import('./commands/distill.ts')).distill,
  pipeline: async () => (await import('./commands/pipeline.ts')).pipeline,
  plan: async () => (await import('./commands/plan.ts')).plan,
  'scaling-law': async () => (await import('./commands/scaling-law.ts')).scalingLaw,
  eval: async () => (await import('./commands/eval.ts')).evaluate,
  trace: async () => (await import('./commands/trace.ts')).trace,
  keys: async () => (await import('./commands/keys.ts')).keys,
  certs: async () => (await import('./commands/certs.ts')).certs,
  tenant: async () => (await import('./commands/tenant.ts')).tenant,
};

/** The command that is asked for; all of them where the help is, or none that there is. */
function asked(): (() => Promise<Command>)[] {
  const name = process.argv[2] ?? '';
  if (name === '--version') return [];
  return Object.hasOwn(COMMANDS, name) ? [COMMANDS[name]!] : Object.values(COMMANDS);
}

const program = new Command('scalingnote')
  .description(
    'Dense retrieval: a heavy model encodes the documents, a featherweight model encodes the queries.',
  )
  .version(version)
  // A flag after a command is the command's: "delete ID --version 3" does not ask for ours.
  .enablePositionalOptions()
  .exitOverride()
  .showSuggestionAfterError();

// What one command needs, training for instance, others need not wait for.
for (const command of await Promise.all(asked().map((load) => load()))) {
  // A command that was made elsewhere does not inherit these settings.
  for (const each of [command, ...command.commands]) {
    each.exitOverride().showSuggestionAfterError();
    // Every command prints its result, and can print it as JSON.
    if (each.commands.length === 0) each.option('--json', 'print one JSON document');
    refuseRepeats(each);
  }
  program.addCommand(command);
}

// `head` closes its end of the pipe when it has enough lines; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

/** What runs, for errors in its words. */
let running: Command | undefined;
program.hook('preAction', (_, command) => {
  running = command;
  refuseIdle(command);
  takeKeyFile(command);
});

try {
  refuseSecrets(process.argv.slice(2));
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  } else {
    note(`scalingnote: ${oneLine(error)}`);
    process.exitCode = error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE;
  }
}

function oneLine(error: unknown): string {
  if (error instanceof ScalingnoteError && error.reason === '' && error.code === 'UNAVAILABLE') {
    return `the service can't be reached (${transportFailure(error)}); is "scalingnote up" running?`;
  }
  if (error instanceof ScalingnoteError && error.reason === '' && error.code === 'UNIMPLEMENTED') {
    return `${error.message}: another service listens there; check --document-address and --query-address`;
  }
  if (error instanceof ScalingnoteError && error.reason === 'CREDENTIAL_MISSING') {
    return 'the service asks for a key; name the file that has yours with --api-key-file, or set SCALINGNOTE_API_KEY';
  }
  const message = (error instanceof Error ? error.message : String(error)).replaceAll('\n', ' ');
  return error instanceof ScalingnoteError ? inFlags(message, running) : message;
}

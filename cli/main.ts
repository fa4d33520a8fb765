import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ScalingnoteError } from '../clients/index.ts';
import { adopt } from './commands/adopt.ts';
import { backup } from './commands/backup.ts';
import { certs } from './commands/certs.ts';
import { copy } from './commands/copy.ts';
import { distill } from './commands/distill.ts';
import { doctor } from './commands/doctor.ts';
import { alias, collections, drop } from './commands/collections.ts';
import { count, deleteDocuments } from './commands/documents.ts';
import { evaluate } from './commands/eval.ts';
import { exportCommand } from './commands/export.ts';
import { get } from './commands/get.ts';
import { ingest } from './commands/ingest.ts';
import { keys } from './commands/keys.ts';
import { pairs } from './commands/pairs.ts';
import { plan } from './commands/plan.ts';
import { pipeline } from './commands/pipeline.ts';
import { restore } from './commands/restore.ts';
import { scalingLaw } from './commands/scaling-law.ts';
import { search } from './commands/search.ts';
import { status } from './commands/status.ts';
import { tenant } from './commands/tenant.ts';
import { towers } from './commands/towers.ts';
import { trace } from './commands/trace.ts';
import { train } from './commands/train.ts';
import { up } from './commands/up.ts';
import { refuseSecrets, takeKeyFile, transportFailure } from './connection.ts';
import { note, UsageError } from './output/print.ts';
import { inFlags, refuseIdle, refuseRepeats } from './strict.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('scalingnote')
  .description(
    'Dense retrieval: a heavy model encodes the documents, a featherweight model encodes the queries.',
  )
  .version(version)
  // A flag after a command is the command's: "delete ID --version 3" does not ask for ours.
  .enablePositionalOptions()
  .exitOverride()
  .showSuggestionAfterError();

for (const command of [
  up,
  ingest,
  search,
  get,
  deleteDocuments,
  count,
  exportCommand,
  collections,
  alias,
  drop,
  adopt,
  copy,
  backup,
  restore,
  status,
  doctor,
  towers,
  pairs,
  train,
  distill,
  pipeline,
  plan,
  scalingLaw,
  evaluate,
  trace,
  keys,
  certs,
  tenant,
]) {
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
  const message = (error instanceof Error ? error.message : String(error)).replaceAll('\n', ' ');
  return error instanceof ScalingnoteError ? inFlags(message, running) : message;
}

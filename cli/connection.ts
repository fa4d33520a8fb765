import { Option, type Command } from 'commander';
import type { ScalingnoteError } from '../clients/index.ts';
import { UsageError } from './output/print.ts';

/** Where the services are. */
export interface Addresses {
  documentAddress: string;
  queryAddress: string;
}

/** Adds `--document-address`. */
export function withDocumentAddress(command: Command): Command {
  return withAddress(command, 'document', 'document service', 7401);
}

/** Adds `--query-address`. */
export function withQueryAddress(command: Command): Command {
  return withAddress(command, 'query', 'query service', 7402);
}

/** Adds `--console-address`. */
export function withConsoleAddress(command: Command): Command {
  return withAddress(command, 'console', 'console', 7400);
}

/** Variable that the clients read by themselves. */
const KEY_FILE = 'SCALINGNOTE_API_KEY_FILE';

function withAddress(command: Command, name: string, what: string, port: number): Command {
  if (name !== 'console' && !command.options.some((option) => option.long === '--api-key-file')) {
    command.addOption(
      new Option(
        '--api-key-file <path>',
        `file with the key for the services (env: ${KEY_FILE}, SCALINGNOTE_API_KEY)`,
      ),
    );
  }
  return command.addOption(
    new Option(`--${name}-address <host:port>`, `address of the ${what}`)
      .env(`SCALINGNOTE_${name.toUpperCase()}_ADDRESS`)
      .default(`127.0.0.1:${port}`),
  );
}

/** Why a call failed, without the words that grpc-js puts around it: "connect ECONNREFUSED 127.0.0.1:7402". */
export function transportFailure({ message }: ScalingnoteError): string {
  const cause = /Last error: (?:Error: )?(?<cause>.*?)(?:\. Resolution note: .*)?$/s.exec(message)?.groups?.[
    'cause'
  ];
  return (cause ?? message).replaceAll('\n', ' ');
}

/** Hands the key file of a command to its clients. */
export function takeKeyFile(command: Command): void {
  const { apiKeyFile } = command.opts<{ apiKeyFile?: string }>();
  if (apiKeyFile === undefined) return;
  process.env[KEY_FILE] = apiKeyFile;
  // A flag counts before the environment.
  delete process.env['SCALINGNOTE_API_KEY'];
}

/** @throws {UsageError} where a flag holds a key: whoever lists processes sees flags */
export function refuseSecrets(flags: readonly string[]): void {
  if (!flags.some((flag) => /^--(api-key|token)(=|$)/.test(flag) || /^(--[\w-]+=)?sn_\w{12}_/.test(flag)))
    return;
  throw new UsageError(
    `everybody on this machine can read a key in a flag (ps); put it into a file and name that with --api-key-file, or ` +
      'into SCALINGNOTE_API_KEY',
  );
}

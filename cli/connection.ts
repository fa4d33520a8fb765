import { Option, type Command } from 'commander';
import type { ScalingnoteError } from '../clients/index.ts';

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

function withAddress(command: Command, name: string, what: string, port: number): Command {
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

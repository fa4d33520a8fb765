import { Option, type Command } from 'commander';
import { DocumentClient, QueryClient, type ScalingnoteError } from '../clients/index.ts';

/** Where the services are. */
export interface Addresses {
  documentAddress: string;
  queryAddress: string;
}

/** Adds the flags that say where the document service is. */
export function withDocumentAddress(command: Command): Command {
  return command.addOption(
    new Option('--document-address <host:port>', 'address of the document service')
      .env('SCALINGNOTE_DOCUMENT_ADDRESS')
      .default('127.0.0.1:7401'),
  );
}

/** Adds the flags that say where the query service is. */
export function withQueryAddress(command: Command): Command {
  return command.addOption(
    new Option('--query-address <host:port>', 'address of the query service')
      .env('SCALINGNOTE_QUERY_ADDRESS')
      .default('127.0.0.1:7402'),
  );
}

/** Adds the flag that says where the console is. */
export function withConsoleAddress(command: Command): Command {
  return command.addOption(
    new Option('--console-address <host:port>', 'address of the console')
      .env('SCALINGNOTE_CONSOLE_ADDRESS')
      .default('127.0.0.1:7400'),
  );
}

/** Runs something with a client of the document service, and closes it. */
export async function usingDocuments<T>(
  address: string,
  use: (client: DocumentClient) => Promise<T>,
): Promise<T> {
  const client = new DocumentClient({ address });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Runs something with a client of the query service, and closes it. */
export async function usingQueries<T>(address: string, use: (client: QueryClient) => Promise<T>): Promise<T> {
  const client = new QueryClient({ address });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Why a call failed, without what grpc-js puts around it: "connect ECONNREFUSED 127.0.0.1:7402". */
export function transportFailure({ message }: ScalingnoteError): string {
  const cause = /Last error: (?:Error: )?(?<cause>.*?)(?:\. Resolution note: .*)?$/s.exec(message)?.groups?.[
    'cause'
  ];
  return (cause ?? message).replaceAll('\n', ' ');
}

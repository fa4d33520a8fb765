import type { CallBounds, ClientOptions } from '../call.ts';
import type { Credentials } from '../credentials.ts';
import type { ExportOptions } from '../export.ts';
import type { IngestOptions } from '../ingest.ts';
import { invalidArgument } from '../errors.ts';
import type { QueryBounds } from '../search-stream.ts';
import type { StreamBounds } from '../service-client.ts';
import {
  callback,
  callMetadata,
  channelOptionTable,
  checkOptions,
  count,
  flag,
  duration,
  instance,
  milliseconds,
  oneOf,
  type OptionTable,
  serverAddress,
  serverAddresses,
  signal,
  text,
  traceparent,
} from './options.ts';
import { type Check, join } from './read.ts';

/** What options the clients take, and what each may be. A new option has its row here. */

const CREDENTIALS: OptionTable<Credentials> = {
  apiKey: text,
  apiKeyFile: text,
  token: (value, path) => (typeof value === 'function' ? value : text(value, path)),
  tls: flag,
  ca: text,
  cert: text,
  key: text,
  plaintext: flag,
};

/** What grpc-js makes, or the parts that we make it of. */
const credentialsCheck: Check = (value, path) => {
  // A key in the wrong place must not stand in the error.
  if (typeof value === 'string')
    throw invalidArgument(path, 'is a string; give { apiKey } or { apiKeyFile }');
  const isParts = typeof value === 'object' && value !== null && !Reflect.has(value, 'compose');
  if (!isParts || Object.keys(value).length === 0) {
    return instance('ChannelCredentials of @grpc/grpc-js, or parts such as apiKey and ca', ['compose'])(
      value,
      path,
    );
  }
  return checkOptions(value as Credentials, CREDENTIALS, path);
};

const CLIENT_OPTIONS: OptionTable<ClientOptions> = {
  address: serverAddress,
  addresses: serverAddresses,
  balancing: oneOf('round-robin', 'least-loaded'),
  credentials: credentialsCheck,
  timeoutMs: milliseconds,
  attempts: count(1),
  waitForReady: flag,
  hedgeAfterMs: milliseconds,
  channelOptions: channelOptionTable,
};

/** What goes with every stream. */
export const STREAM_BOUNDS: OptionTable<StreamBounds> = { traceparent, metadata: callMetadata };

/** What bounds every call. */
export const CALL_BOUNDS: OptionTable<CallBounds> = {
  ...STREAM_BOUNDS,
  signal,
  timeoutMs: milliseconds,
  hedgeAfterMs: milliseconds,
};

/** What bounds a query of a search stream. */
export const QUERY_BOUNDS: OptionTable<QueryBounds> = { signal, timeoutMs: milliseconds, traceparent };

/** The options of a client. @throws {ScalingnoteError} `INVALID_ARGUMENT` that names the option */
export function checkClientOptions(options: ClientOptions | undefined): ClientOptions {
  const checked = checkOptions(options, CLIENT_OPTIONS);
  if (checked.address === undefined || checked.addresses === undefined) return checked;
  throw invalidArgument('addresses', 'is given beside "address"; give one of them');
}

/** The bounds of a call. @throws {ScalingnoteError} `INVALID_ARGUMENT` that names the option */
export function checkBounds(bounds: CallBounds | undefined): CallBounds {
  return checkOptions(bounds, CALL_BOUNDS);
}

/** Checked where the message is written. */
const later: Check = (value) => value;

const LONG_STREAM = {
  ...STREAM_BOUNDS,
  signal,
  patienceMs: duration,
  onReconnect: callback,
  collection: later,
  tenant: later,
};

/** What an ingest takes. */
export const INGEST_OPTIONS: OptionTable<IngestOptions> = {
  ...LONG_STREAM,
  omitText: later,
  analysis: later,
  bulk: later,
  onOutcome: callback,
  onWatermark: callback,
  onReady: callback,
  expectedIdentity: text,
  expectedFreshness: text,
  window: count(1),
};

/** What an export takes. */
export const EXPORT_OPTIONS: OptionTable<ExportOptions> = {
  ...LONG_STREAM,
  allTenants: later,
  filter: later,
  withVectors: later,
  after: (value, path) => {
    const after = checkOptions(value as object, { tenant: text, id: text }, path) as { id?: string };
    if (after.id !== undefined) return after;
    throw invalidArgument(join(path, 'id'), 'is missing; name the document to begin after');
  },
  onBegin: callback,
};

/** Recorded answers of a real Qdrant 1.18.3, alone and as three nodes of which one or two were dead. */
export interface Recorded {
  status: number;
  headers: Readonly<Record<string, string>>;
  /** JSON, or plain text. */
  body: unknown;
}

export const RECORDED: Readonly<Record<string, Recorded>> = {
  'describe missing collection': {
    status: 404,
    headers: { 'content-type': 'application/json' },
    body: { status: { error: "Not found: Collection `nowhere` doesn't exist!" } },
  },
  'create collection, name with a slash': {
    status: 422,
    headers: { 'content-type': 'application/json' },
    body: {
      status: {
        error:
          'Validation error in path parameters: [collection_name: collection name cannot contain "/" char]',
      },
    },
  },
  'upsert, wrong dimensions': {
    status: 400,
    headers: { 'content-type': 'application/json' },
    body: { status: { error: 'Wrong input: Vector dimension error: expected dim: 4, got 3' } },
  },
  'upsert, malformed JSON': {
    status: 400,
    headers: { 'content-type': 'application/json' },
    body: { status: { error: 'Format error in JSON body: EOF while parsing a list at line 1 column 12' } },
  },
  'upsert into missing collection': {
    status: 404,
    headers: { 'content-type': 'application/json' },
    body: { status: { error: "Not found: Collection `nowhere` doesn't exist!" } },
  },
  'query, limit 0': {
    status: 422,
    headers: { 'content-type': 'application/json' },
    body: {
      status: {
        error: 'Validation error in JSON body: [internal.limit: value 0 invalid, must be 1 or larger]',
      },
    },
  },
  'query, missing collection': {
    status: 404,
    headers: { 'content-type': 'application/json' },
    body: { status: { error: "Not found: Collection `nowhere` doesn't exist!" } },
  },
  'query without naming the vector': {
    status: 400,
    headers: { 'content-type': 'application/json' },
    body: { status: { error: 'Wrong input: Not existing vector name error: ' } },
  },
  'strict mode, limit over the maximum': {
    status: 400,
    headers: { 'content-type': 'application/json' },
    body: {
      status: {
        error:
          'Bad request: Limit exceeded 100 > 10 for "limit". Help: Reduce the "limit" parameter to or below 10.',
      },
    },
  },
  'strict mode, filter on a field without index': {
    status: 400,
    headers: { 'content-type': 'application/json' },
    body: {
      status: {
        error:
          'Bad request: Index required but not found for "x" of one of the following types: [integer]. Help: Create an index for this key or use a different filter.',
      },
    },
  },
  'strict mode, read rate, call 3': {
    status: 429,
    headers: { 'retry-after': '30', 'content-type': 'application/json' },
    body: {
      status: {
        error:
          'Rate limiting exceeded: Read rate limit exceeded: Operation requires 1 tokens but only 0.0 were available. Retry after 30s',
      },
    },
  },
  'no key': { status: 401, headers: {}, body: 'Must provide an API key or an Authorization bearer token' },
  'wrong key': { status: 401, headers: {}, body: 'Invalid API key or JWT' },
  'read-only key writes': {
    status: 403,
    headers: { 'content-type': 'application/json' },
    body: { status: { error: 'Forbidden: Global manage access is required' } },
  },
  'body over the server limit': {
    status: 400,
    headers: { 'content-type': 'application/json' },
    body: {
      status: { error: 'JSON payload (2000072 bytes) is larger than allowed (limit: 1048576 bytes).' },
    },
  },
  'unknown path': { status: 404, headers: {}, body: '' },
  'upsert just after one of three nodes died': {
    status: 500,
    headers: {},
    body: {
      status: {
        error:
          'Service internal error: 2 out of 3 shards failed to apply operation. First error captured: Service internal error: Tonic status error: code: \'The service is currently unavailable\', message: "tcp connect error", source: tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", 127.0.0.1:7203, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))',
      },
    },
  },
  'upsert, strong ordering, one node dead': {
    status: 500,
    headers: {},
    body: {
      status: {
        error:
          'Service internal error: 2 out of 3 shards failed to apply operation. First error captured: Service internal error: Failed to apply update with Strong ordering via leader peer 3668006559597929: Service internal error: Tonic status error: code: \'The service is currently unavailable\', message: "Failed to connect to http://127.0.0.1:7203/, error: transport error"',
      },
    },
  },
  'query with consistency all, one node dead': {
    status: 500,
    headers: {},
    body: {
      status: {
        error:
          'Service internal error: The replica set for shard 1 on peer 2322273896884777 does not have enough active replicas',
      },
    },
  },
  'query, two of three nodes dead': {
    status: 500,
    headers: {},
    body: {
      status: {
        error:
          'Service internal error: 1 of 1 read operations failed:\n  Service internal error: Tonic status error: code: \'The service is currently unavailable\', message: "tcp connect error", source: tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", 127.0.0.1:7202, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))',
      },
    },
  },
  'alias, two of three nodes dead (no consensus)': {
    status: 500,
    headers: {},
    body: {
      status: {
        error:
          'Service internal error: Waiting for consensus operation commit failed. Timeout set at: 5 seconds',
      },
    },
  },
  'describe, two of three nodes dead': {
    status: 500,
    headers: {},
    body: {
      status: {
        error:
          'Service internal error: 1 of 1 read operations failed:\n  Service internal error: Tonic status error: code: \'The service is currently unavailable\', message: "Failed to connect to http://127.0.0.1:7202/, error: transport error"',
      },
    },
  },
};

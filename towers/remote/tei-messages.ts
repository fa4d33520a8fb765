import protobuf from 'protobufjs';

/** The part of `tei.v1` that we use, with the field numbers of text-embeddings-inference's published `tei.proto`. */
const MESSAGES: protobuf.INamespace = {
  nested: {
    InfoRequest: { fields: {} },
    InfoResponse: {
      fields: {
        modelId: { type: 'string', id: 4 },
        modelSha: { type: 'string', id: 5 },
        maxInputLength: { type: 'uint32', id: 9 },
      },
    },
    EmbedRequest: {
      fields: {
        inputs: { type: 'string', id: 1 },
        truncate: { type: 'bool', id: 2 },
        // Absent is true here, so that false must be sent.
        normalize: { type: 'bool', id: 3, options: { features: { field_presence: 'EXPLICIT' } } },
        dimensions: { type: 'uint32', id: 6 },
      },
    },
    Metadata: { fields: { computeTokens: { type: 'uint32', id: 2 } } },
    EmbedResponse: {
      fields: {
        embeddings: { rule: 'repeated', type: 'float', id: 1 },
        metadata: { type: 'Metadata', id: 2 },
      },
    },
    EncodeRequest: {
      fields: { inputs: { type: 'string', id: 1 }, addSpecialTokens: { type: 'bool', id: 2 } },
    },
    SimpleToken: { fields: { special: { type: 'bool', id: 3 } } },
    EncodeResponse: { fields: { tokens: { rule: 'repeated', type: 'SimpleToken', id: 1 } } },
  },
};

const root = protobuf.Root.fromJSON(MESSAGES);

/** A method of a gRPC service: where it is, and how its messages become bytes. */
export interface Method<Request extends object, Response extends object> {
  path: string;
  serialize: (request: Request) => Buffer;
  deserialize: (bytes: Buffer) => Partial<Response>;
}

/** A text to embed. */
export interface EmbedRequest {
  inputs: string;
  truncate: boolean;
  normalize: boolean;
  dimensions?: number;
}

export const INFO: Method<object, { modelId: string; modelSha: string; maxInputLength: number }> = method(
  '/tei.v1.Info/Info',
  'InfoRequest',
  'InfoResponse',
);

export const EMBED_STREAM: Method<
  EmbedRequest,
  { embeddings: number[]; metadata: { computeTokens?: number } | null }
> = method('/tei.v1.Embed/EmbedStream', 'EmbedRequest', 'EmbedResponse');

export const TOKENIZE: Method<
  { inputs: string; addSpecialTokens: boolean },
  { tokens: { special: boolean }[] }
> = method('/tei.v1.Tokenize/Tokenize', 'EncodeRequest', 'EncodeResponse');

function method<Request extends object, Response extends object>(
  path: string,
  request: string,
  response: string,
): Method<Request, Response> {
  const requestType: protobuf.Type = root.lookupType(request);
  const responseType: protobuf.Type = root.lookupType(response);
  return {
    path,
    serialize: (value) => Buffer.from(requestType.encode(requestType.create(value)).finish()),
    // Fields that are absent are undefined, or the default of their type.
    deserialize: (bytes) => responseType.decode(bytes) as unknown as Partial<Response>,
  };
}

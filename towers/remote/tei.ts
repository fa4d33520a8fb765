import { Client, credentials, Metadata, type ServiceError, status as Code } from '@grpc/grpc-js';
import { TowerError } from '../errors.ts';
import { adviceOf } from './advice.ts';
import { type Answer, faulty } from './answer.ts';
import { positive, type ServerFacts } from './facts.ts';
import { EMBED_STREAM, INFO, type Method, TOKENIZE } from './tei-messages.ts';
import { reloadingCredentials } from '../../calls/outgoing-credentials.ts';
import { isLoopback, redactKey, type RemoteIdentity } from './transport.ts';
import type { Outcome, Wire } from './wire.ts';

/** Longest piece of a server's own words in our errors. */
const MOST_QUOTED = 300;

const FACTS_TIMEOUT_MS = 5_000;

/** Texts that are counted to learn of special tokens: the server takes no empty one. */
const ANY_TEXT = 'a';

/** Statuses that another attempt may get past. */
const AWAY: ReadonlySet<Code> = new Set([
  Code.UNAVAILABLE,
  Code.INTERNAL,
  Code.UNKNOWN,
  Code.ABORTED,
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED,
  Code.DATA_LOSS,
]);

/** Statuses that may concern one input alone. The server says FAILED_PRECONDITION where tokenizer or model failed on it. */
const REFUSED: ReadonlySet<Code> = new Set([
  Code.INVALID_ARGUMENT,
  Code.OUT_OF_RANGE,
  Code.FAILED_PRECONDITION,
]);

const CHANNEL = {
  // Attempts are counted by the endpoint, and by nobody else.
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  // A channel that is closed takes its connection with it.
  'grpc.use_local_subchannel_pool': 1,
  // A server that is back is found within the attempts of the endpoint.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // A connection that leads nowhere any more is noticed while it is used.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

/** The gRPC of text-embeddings-inference: a request is a stream of texts, answered one by one in their order. */
export class TeiWire implements Wire {
  readonly where: string;
  readonly #client: Client;
  readonly #key: (() => string) | undefined;
  readonly #dimensions: number | undefined;

  /** @param url `http:` for plain text, `https:` for TLS */
  constructor(url: string, { key, tls, dimensions }: RemoteIdentity & { dimensions?: number | undefined }) {
    const { protocol, hostname, port } = new URL(url);
    const secure = protocol === 'https:';
    this.where = url;
    this.#key = key;
    this.#dimensions = dimensions;
    this.#client = new Client(
      `dns:${hostname}:${port || (secure ? 443 : 80)}`,
      secure ? reloadingCredentials(tls) : credentials.createInsecure(),
      { ...CHANNEL, ...(isLoopback(url) && { 'grpc.enable_http_proxy': 0 }) },
    );
  }

  async ask(
    texts: readonly string[],
    {
      signal,
      tokens,
      headers,
    }: { signal: AbortSignal; tokens: number; headers: Readonly<Record<string, string>> },
  ): Promise<Outcome> {
    // Where one of the two calls fails, the other one is not waited for.
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    try {
      const [answer, model] = await Promise.all([
        this.#embed(texts, both, headers),
        // It is in no answer: whoever starts another model at this address should be noticed all the same.
        this.#model(both),
      ]);
      return { answer: { ...answer, model } };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof TowerError) return { kind: 'final', failure: error };
      if (!isServiceError(error)) throw error;
      return { ...this.#failure(error, texts.length), adviceMs: adviceOf(textsOf(error.metadata), tokens) };
    } finally {
      stop.abort();
    }
  }

  async count(text: string, signal: AbortSignal): Promise<number | undefined> {
    const request = { inputs: text === '' ? ANY_TEXT : text, addSpecialTokens: true };
    const answer = await this.#asked(TOKENIZE, request, signal);
    const tokens = answer?.tokens;
    return text === '' ? tokens?.filter(({ special }) => special).length : tokens?.length;
  }

  async describe(): Promise<ServerFacts> {
    const answer = await this.#asked(INFO, {}, AbortSignal.timeout(FACTS_TIMEOUT_MS));
    return {
      maxTokens: positive(answer?.maxInputLength),
      // Texts come one by one: what a client may send at once has no limit.
      maxBatchInputs: undefined,
      revision: answer?.modelSha || undefined,
    };
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  async #model(signal: AbortSignal): Promise<string | undefined> {
    return (await this.#optional(INFO, {}, signal))?.modelId || undefined;
  }

  async #embed(
    texts: readonly string[],
    signal: AbortSignal,
    headers: Readonly<Record<string, string>>,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const { path, serialize, deserialize } = EMBED_STREAM;
    const call = this.#client.makeBidiStreamRequest(path, serialize, deserialize, this.#metadata(headers));
    // A call that is cancelled says so once more, to nobody.
    call.on('error', () => {});
    const cancel = (): void => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      for (const inputs of texts) {
        // Not cut in silence, and scaled by nobody but us.
        call.write({
          inputs,
          truncate: false,
          normalize: false,
          ...(this.#dimensions !== undefined && { dimensions: this.#dimensions }),
        });
      }
      call.end();
      const vectors: Float32Array[] = [];
      let read: number | undefined = 0;
      for await (const { embeddings, metadata } of call as AsyncIterable<ReturnType<typeof deserialize>>) {
        if (vectors.length === texts.length) {
          throw faulty(
            'count',
            this.where,
            `answers with more than ${texts.length} vectors for as many texts`,
          );
        }
        if (embeddings === undefined || embeddings.length === 0) {
          throw faulty(
            'form',
            this.where,
            `answers text ${vectors.length} of ${texts.length} with no vector`,
          );
        }
        vectors.push(Float32Array.from(embeddings));
        const counted = positive(metadata?.computeTokens);
        read = read === undefined || counted === undefined ? undefined : read + counted;
      }
      if (vectors.length !== texts.length) {
        throw faulty('count', this.where, `answers with ${vectors.length} vectors for ${texts.length} texts`);
      }
      return { vectors, tokens: read, model: undefined };
    } finally {
      signal.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  /** As {@link #optional}. @throws {TowerError} */
  async #asked<Request extends object, Response extends object>(
    method: Method<Request, Response>,
    request: Request,
    signal: AbortSignal,
  ): Promise<Partial<Response> | undefined> {
    try {
      return await this.#optional(method, request, signal);
    } catch (error) {
      throw isServiceError(error) ? this.#failure(error, 1).failure : error;
    }
  }

  /** Calls what a server need not have. @throws what gRPC says @returns undefined where it does not have it */
  async #optional<Request extends object, Response extends object>(
    { path, serialize, deserialize }: Method<Request, Response>,
    request: Request,
    signal: AbortSignal,
  ): Promise<Partial<Response> | undefined> {
    signal.throwIfAborted();
    let cancel = (): void => {};
    try {
      return await new Promise((resolve, reject) => {
        const call = this.#client.makeUnaryRequest(
          path,
          serialize,
          deserialize,
          request,
          this.#metadata({}),
          (error, answer) => {
            if (error === null) resolve(answer);
            else if (error.code === Code.UNIMPLEMENTED) resolve(undefined);
            else reject(error);
          },
        );
        cancel = () => call.cancel();
        signal.addEventListener('abort', cancel, { once: true });
      });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  #metadata(headers: Readonly<Record<string, string>>): Metadata {
    const metadata = new Metadata();
    if (this.#key !== undefined) metadata.set('authorization', `Bearer ${this.#key()}`);
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return metadata;
  }

  #failure(
    { code, details }: ServiceError,
    count: number,
  ): { kind: 'busy' | 'away' | 'final'; failure: TowerError } {
    const name = Code[code];
    const said = redactKey(details, this.#key?.()).slice(0, MOST_QUOTED);
    const metadata = { status: name, said };
    const quoted = said === '' ? '' : `: ${said}`;
    const final = (failure: TowerError): { kind: 'final'; failure: TowerError } => ({
      kind: 'final',
      failure,
    });
    // These are the words of grpc-js, which has no code for them.
    if (/^Response message parsing error|^Received message larger than max/.test(details)) {
      return final(faulty('form', this.where, `answers with what is no message of tei.v1${quoted}`));
    }
    if (code === Code.RESOURCE_EXHAUSTED || AWAY.has(code)) {
      const message = `${this.where} answers with ${name}${quoted}`;
      const failure = new TowerError('ENDPOINT_UNAVAILABLE', message, { metadata });
      return { kind: code === Code.RESOURCE_EXHAUSTED ? 'busy' : 'away', failure };
    }
    if (REFUSED.has(code)) {
      const what = count === 1 ? 'the text' : `one of ${count} texts`;
      const message = `${this.where} refuses ${what} (${name})${quoted}`;
      return final(new TowerError('ENDPOINT_INPUT_REFUSED', message, { metadata }));
    }
    const refuse = (message: string): { kind: 'final'; failure: TowerError } =>
      final(new TowerError('ENDPOINT_REFUSED', message, { metadata: { status: name } }));
    // What the server says of a key may repeat parts of it.
    if (code === Code.UNAUTHENTICATED || code === Code.PERMISSION_DENIED) {
      return refuse(
        `${this.where} refuses access (${name}); give its key in SCALINGNOTE_REMOTE_KEY_FILE or SCALINGNOTE_REMOTE_KEY`,
      );
    }
    if (code === Code.UNIMPLEMENTED) {
      return refuse(
        `${this.where} has no tei.v1.Embed/EmbedStream (${name})${quoted}; is it the gRPC build of text-embeddings-inference ` +
          'with an embedding model? Its HTTP build is remote:',
      );
    }
    return refuse(`${this.where} answers with ${name}${quoted}`);
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error;
}

function textsOf(metadata: Metadata): Record<string, string> {
  const entries = Object.entries(metadata.getMap());
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

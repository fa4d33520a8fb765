import * as z from 'zod';

/** What a server of embeddings speaks: OpenAI's `/v1/embeddings`, or the gRPC of text-embeddings-inference. */
export const RemoteProtocol = z.enum(['openai', 'tei']);
export type RemoteProtocol = z.infer<typeof RemoteProtocol>;

/** Who counts the tokens of a remote model. */
export const TokenizerKind = z.enum([
  /** We do, with its tokenizer: `tokenizer.json` is in the folder. */
  'files',
  /** The server does, when it is asked for each text (`/tokenize`). */
  'endpoint',
  /** Nobody: characters are counted, so that it is never less than the tokens of usual text. */
  'characters',
]);
export type TokenizerKind = z.infer<typeof TokenizerKind>;

/** What a million tokens cost. */
export const Price = z.strictObject({
  perMillionTokens: z.number().nonnegative(),
  currency: z.string().regex(/^[A-Z]{3}$/, 'must be three capital letters, as USD'),
});
export type Price = z.infer<typeof Price>;

/** Where a model runs that is not in this process. The address is not part of the space; the model's name is. */
export const RemoteRuntime = z
  .strictObject({
    kind: z.literal('remote'),
    protocol: RemoteProtocol,
    /** What is asked for vectors, in full for `openai`; host and port for `tei` (`https:` is TLS). Never with a key. */
    url: z
      .url({ protocol: /^https?$/ })
      .refine((url) => !/[?@]/.test(url.replace(/^https?:\/\//, '')), 'must have no user, password or query'),
    /** As the server calls it. */
    model: z.string().min(1),
    /** What the server called it when the tower was made; another name in an answer is refused. */
    answersAs: z.string().optional(),
    /** The `dimensions` to ask for. @default none: the server gives what the model has */
    dimensions: z.int().positive().optional(),
    /** Components of the server's vectors, where only the first of them are kept (Matryoshka). */
    cutFrom: z.int().positive().optional(),
    tokenizerKind: TokenizerKind,
    /** Whether the server reports tokens as we count them, so that a text that it cut is noticed. */
    countsAgree: z.boolean(),
    /** Tokens that the server adds to each text, where the tokenizer of the folder does not say so. @default 0 */
    extraTokens: z.int().optional(),
    /** Most texts in a request. @default 32 */
    maxBatchInputs: z.int().positive().optional(),
    /** Most tokens in a request. @default 16384 */
    maxBatchTokens: z.int().positive().optional(),
    /** Most requests at once. @default 32 */
    maxConcurrency: z.int().positive().max(256).optional(),
    /** How long a request may take, in milliseconds. @default 60000 */
    timeoutMs: z.int().positive().max(600_000).optional(),
    /** Variable of the environment that has the key; the same name with `_FILE` names a file of it. */
    keyEnv: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]*$/, 'must be the name of an environment variable')
      .optional(),
    price: Price.optional(),
  })
  .refine(({ protocol, url }) => protocol !== 'tei' || !URL.canParse(url) || new URL(url).pathname === '/', {
    path: ['url'],
    message: 'must have no path: gRPC has none',
  });
export type RemoteRuntime = z.infer<typeof RemoteRuntime>;

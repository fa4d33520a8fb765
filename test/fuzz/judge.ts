import { v1 } from '../../proto/load.ts';
import type { Case, Outcome } from './case.ts';
import { STEADY_DOCUMENTS } from './kinds/right.ts';

/** What can be wrong. */
export const FAULTS = ['crash', 'hang', 'status', 'answer', 'log', 'canary', 'memory', 'leak'] as const;
export type Fault = (typeof FAULTS)[number];

/** Something that is wrong, and with what. */
export interface Finding {
  fault: Fault;
  what: string;
}

/** Statuses that blame the service, whatever was sent. */
const BLAMES =
  /^(INTERNAL|UNKNOWN|DATA_LOSS|GRPC_\d+|HTTP_5(?!0[1345])\d\d|HTTP_undefined|HTTP_unknown|RST_2|GOAWAY_2)$/;
/** The same in the bodies of Connect and gRPC-Web. */
const BLAMES_IN_BODY = /"code":"(internal|unknown|data_loss)"|grpc-status: ?(2|13|15)\r\n/;
/**
 * What a right call may be told when others take all there is, or when its connection ends for what others reset there
 * (ENHANCE_YOUR_CALM); it is sent again. So is what was never looked at (REFUSED_STREAM): as long as there is overload, a
 * connection takes fewer streams than were opened before it said so.
 */
export const BUSY = new Set(['RESOURCE_EXHAUSTED', 'HTTP_429', 'HTTP_503', 'RST_7', 'RST_11', 'GOAWAY_11']);

/** @returns what is wrong with what came of a case */
export function judge(one: Case, outcome: Outcome): Finding | undefined {
  const { statuses, body } = outcome;
  const { allowed, wire } = one;
  const told = statuses.join(' ');
  if (statuses.includes('HANG'))
    return {
      fault: 'hang',
      what: `neither answered nor closed: ${told} ${body.toString('latin1').slice(-120)}`,
    };
  const blaming = statuses.find((status) => BLAMES.test(status) && !allowed.includes(status));
  if (blaming !== undefined) return { fault: 'status', what: blaming };
  const said = BLAMES_IN_BODY.exec(body.toString('latin1'));
  if (said && !isMandated(one, body)) return { fault: 'status', what: said[0] };
  if (allowed.includes('*')) return undefined;
  if (allowed.includes('* but OK')) {
    const isGood = statuses.includes('OK');
    return isGood ? { fault: 'status', what: 'OK without a credential' } : undefined;
  }
  // Each answer of a connection is followed by its end.
  const answers =
    wire.on === 'tcp' && statuses.length > 1 ? statuses.filter((status) => status !== 'CLOSED') : statuses;
  const odd = answers.find((status) => !allowed.includes(status));
  if (odd !== undefined) return { fault: 'status', what: `${odd}, where ${allowed.join(', ')} are due` };
  const wrong =
    answers.includes('OK') && one.check !== undefined ? CHECKS[one.check]?.(one, outcome) : undefined;
  return wrong === undefined ? undefined : { fault: 'answer', what: wrong };
}

/**
 * A message whose flag says that it is compressed, where no header says how: Connect's specification and its conformance
 * suite want INTERNAL.
 */
function isMandated(one: Case, body: Buffer): boolean {
  return one.check === 'envelope' && body.includes('no header says how');
}

/** The messages of an answer of gRPC. */
function messagesOf(body: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= body.length;) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    messages.push(body.subarray(at + 5, end));
    at = end;
  }
  return messages;
}

const { Search, Encode, SearchStream } = v1.QueryService.service;
const { Ingest, Export } = v1.DocumentService.service;

/** @returns what is wrong with the answer to a right request */
type Check = (one: Case, outcome: Outcome) => string | undefined;

const CHECKS: Readonly<Record<string, Check>> = {
  hits: (one, { body }) => {
    const [message] = messagesOf(body);
    if (!message) return 'no message';
    const [request] = requestsOf(one, Search.requestDeserialize);
    const { hits, collection } = Search.responseDeserialize(message);
    const limit = request?.limit ?? 10;
    if (hits.length > limit) return `${hits.length} hits where ${limit} were asked for`;
    if (collection !== request?.collection) return `an answer of ${collection}`;
    const ids = new Set(hits.map(({ documentId }) => documentId));
    if (ids.size !== hits.length) return 'a document twice';
    const isSorted = hits.every(({ score }, index) => index === 0 || score <= hits[index - 1]!.score);
    return isSorted || request?.sort ? undefined : 'hits that are not in order';
  },
  embeddings: (one, { body }) => {
    const [message] = messagesOf(body);
    if (!message) return 'no message';
    const [request] = requestsOf(one, Encode.requestDeserialize);
    const { embeddings } = Encode.responseDeserialize(message);
    if (embeddings.length !== request?.texts.length) return `${embeddings.length} vectors`;
    return embeddings.every(({ values }) => values.length > 0 && values.every(Number.isFinite))
      ? undefined
      : 'a vector that is none';
  },
  stream: (one, { body }) => {
    const sent = requestsOf(one, SearchStream.requestDeserialize).map(({ sequence }) => sequence);
    const got = messagesOf(body).map((message) => SearchStream.responseDeserialize(message));
    const bad = got.find(({ answer }) => answer === 'error');
    if (bad) return `an error: ${bad.error?.message}`;
    const answered = got.map(({ sequence }) => sequence).sort((a, b) => Number(a) - Number(b));
    return answered.join() === sent.join() ? undefined : `answers to ${answered.join()} of ${sent.join()}`;
  },
  export: (_, { body }) => {
    const events = messagesOf(body).map((message) => Export.responseDeserialize(message));
    const documents = events.filter(({ event }) => event === 'document').length;
    return documents === STEADY_DOCUMENTS ? undefined : `${documents} documents`;
  },
  ingest: (one, { body }) => {
    const sent = requestsOf(one, Ingest.requestDeserialize).filter(({ operation }) => operation !== 'begin');
    const events = messagesOf(body).map((message) => Ingest.responseDeserialize(message));
    const outcomes = events.flatMap(({ outcome }) => (outcome ? [outcome] : []));
    const rejected = outcomes.find(({ kind }) => kind === 'OUTCOME_KIND_REJECTED');
    if (rejected) return `rejected: ${rejected.error?.message}`;
    const answered = outcomes.map(({ sequence }) => sequence).sort((a, b) => Number(a) - Number(b));
    if (answered.join() !== sent.map(({ sequence }) => sequence).join()) return `outcomes ${answered.join()}`;
    const last = events.findLast(({ event }) => event === 'watermark')?.watermark?.sequence;
    return last === sent.at(-1)?.sequence ? undefined : `the last watermark is ${last}`;
  },
};

function requestsOf<Message>({ wire }: Case, decode: (bytes: Buffer) => Message): Message[] {
  return wire.on === 'stream' ? messagesOf(Buffer.concat(wire.data)).map(decode) : [];
}

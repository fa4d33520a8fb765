import * as fc from 'fast-check';
import type { DescMessage } from '@bufbuild/protobuf';
import { nodesOf } from '../hostile.ts';
import { encodeNodes, type Node } from '../wire-message.ts';
import { HOSTILE, methodOf, METHODS, sent } from './call.ts';
import { envelopes } from './envelopes.ts';
import { headers } from './headers.ts';
import { enveloped, type Kind } from './kind.ts';
import { rightRequests } from './right.ts';

/** Right requests: answered as they have to be. */
const right: Kind = {
  name: 'right',
  weight: 4,
  part: 'structured',
  of: (ground) =>
    sent(
      rightRequests(ground).map(({ service, path, messages, status, check }) => ({
        kind: 'right',
        service,
        path,
        data: messages.map((message) => enveloped(message)),
        allowed: [status],
        ...(check !== undefined && { check }),
      })),
      ground,
    ),
};

/** A message of a method made of its descriptor alone. */
const madeUp: Kind = {
  name: 'made up',
  weight: 6,
  part: 'structured',
  of: (ground) =>
    sent(
      fc.constantFrom(...METHODS).chain(({ service, path, input, isStream }) =>
        fc
          .tuple(
            fc.array(nodesOf(input).map(encodeNodes), { minLength: 1, maxLength: isStream ? 5 : 1 }),
            fc.constantFrom<('data' | 'reset')[]>('data', 'data', 'data', 'reset'),
          )
          .map(([messages, end]) => ({
            kind: 'made up',
            service,
            path,
            data: messages.map((message) => enveloped(message)),
            allowed: end === 'reset' ? ['LEFT'] : HOSTILE,
            end,
          })),
      ),
      ground,
    ),
};

/** Right requests with fields of their method behind, which take the place of those that are there. */
const mutated: Kind = {
  name: 'mutated',
  weight: 8,
  part: 'structured',
  of: (ground) =>
    sent(
      rightRequests(ground).chain(({ service, path, messages }) =>
        fc
          .tuple(nodesOf(methodOf.get(path)!.input).map(encodeNodes), fc.nat({ max: messages.length - 1 }))
          .map(([more, at]) => ({
            kind: 'mutated',
            service,
            path,
            data: messages.map((message, index) =>
              enveloped(index === at ? Buffer.concat([message, more]) : message),
            ),
            allowed: HOSTILE,
          })),
      ),
      ground,
    ),
};

/** What is added to a right request, and what it has to be answered with then. */
const ADDED: readonly { name: string; nodes: (type: DescMessage) => readonly Node[]; status?: string }[] = [
  {
    name: 'unknown field',
    nodes: () => [{ no: 15_000, type: 2, value: Buffer.from('whatever') }],
  },
  { name: 'unknown number', nodes: () => [{ no: 15_001, type: 0, value: 2n ** 64n - 1n }] },
  {
    name: 'cut off',
    nodes: () => [{ no: 15_000, type: 2, value: Buffer.from('ab'), claim: 3 }],
    status: 'INVALID_ARGUMENT',
  },
  { name: 'field 0', nodes: () => [{ no: 0, type: 0, value: 1n }], status: 'INVALID_ARGUMENT' },
  { name: 'wire type 6', nodes: () => [{ no: 1, type: 6, value: [] }], status: 'INVALID_ARGUMENT' },
  { name: 'wire type 7', nodes: () => [{ no: 1, type: 7, value: [] }], status: 'INVALID_ARGUMENT' },
  {
    name: 'endless number',
    nodes: () => [{ type: 'raw', bytes: Buffer.from('08ffffffffffffffffffff01', 'hex') }],
    status: 'INVALID_ARGUMENT',
  },
];

/** Right unary requests with one thing more, whose answer is known. */
const added: Kind = {
  name: 'added',
  weight: 3,
  part: 'structured',
  of: (ground) =>
    sent(
      fc
        .tuple(
          rightRequests(ground).filter(({ path }) => !methodOf.get(path)!.isStream),
          fc.constantFrom(...ADDED),
        )
        .map(([{ service, path, messages, status }, { name, nodes, status: wanted }]) => ({
          kind: `added: ${name}`,
          service,
          path,
          data: [enveloped(Buffer.concat([messages[0]!, encodeNodes(nodes(methodOf.get(path)!.input))]))],
          allowed: [wanted ?? status],
        })),
      ground,
    ),
};

/** The steps of an Ingest and of a SearchStream in any order, and streams that end in the middle. */
const streams: Kind = {
  name: 'streams',
  weight: 4,
  part: 'structured',
  of: (ground) => {
    const ofMethod = (path: string): fc.Arbitrary<Buffer> =>
      rightRequests(ground)
        .filter((each) => each.path === path)
        .chain(({ messages }) => fc.constantFrom(...messages))
        .map((message) => enveloped(message));
    const paths = ['/scalingnote.v1.DocumentService/Ingest', '/scalingnote.v1.QueryService/SearchStream'];
    return sent(
      fc.constantFrom(...paths).chain((path) =>
        fc
          .tuple(
            fc.array(
              fc.oneof(
                { weight: 6, arbitrary: ofMethod(path) },
                {
                  weight: 1,
                  arbitrary: nodesOf(methodOf.get(path)!.input).map((nodes) => enveloped(encodeNodes(nodes))),
                },
                { weight: 1, arbitrary: fc.constant(enveloped(Buffer.alloc(0))) },
              ),
              { maxLength: 8 },
            ),
            fc.nat({ max: 30 }),
            fc.constantFrom<('data' | 'trailers' | 'reset')[]>('data', 'data', 'trailers', 'reset'),
          )
          .map(([messages, cut, end]) => {
            const all = Buffer.concat(messages);
            // Now and then the last message is cut.
            const isCut = end === 'reset' && cut > 0 && cut < all.length;
            return {
              kind: 'streams',
              service: methodOf.get(path)!.service,
              path,
              data: isCut ? [all.subarray(0, all.length - cut)] : messages,
              allowed: end === 'reset' ? ['LEFT'] : HOSTILE,
              end,
            };
          }),
      ),
      ground,
    );
  },
};

export const RPC_KINDS: readonly Kind[] = [right, madeUp, mutated, added, streams, envelopes, headers];

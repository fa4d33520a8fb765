import { status as Code } from '@grpc/grpc-js';
import type { IngestRequest } from '../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse__Output } from '../../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { OutcomeKind__Output } from '../../proto/generated/scalingnote/v1/OutcomeKind.ts';
import { unpackStatus } from '../../proto/status.ts';
import { ScalingnoteError, toScalingnoteError } from '../../clients/errors.ts';
import type { ClientEvent, OutcomeKind } from './history.ts';

const KINDS: Readonly<Record<OutcomeKind__Output, OutcomeKind>> = {
  OUTCOME_KIND_UNSPECIFIED: 'rejected',
  OUTCOME_KIND_INDEXED: 'indexed',
  OUTCOME_KIND_UNCHANGED: 'unchanged',
  OUTCOME_KIND_DELETED: 'deleted',
  OUTCOME_KIND_REJECTED: 'rejected',
};

/** What recording needs of a `ClientDuplexStream`. */
interface RecordedCall {
  write(message: IngestRequest): boolean;
  on(event: 'data', listener: (response: IngestResponse__Output) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

/** Writes down what goes over a stream, as the client sees it: before it is sent, and when it has come. */
export function recordCall<Call extends RecordedCall>(
  call: Call,
  client: string,
  connection: number,
  record: (event: ClientEvent) => void,
): Call {
  record({ kind: 'opened', client, connection });
  const write = call.write.bind(call);
  call.write = (message) => {
    if (!message.begin) record({ kind: 'sent', client, connection, sequence: Number(message.sequence) });
    return write(message);
  };
  let isOver = false;
  const end = (code: string, reason: string): void => {
    if (!isOver) record({ kind: 'ended', client, connection, code, reason });
    isOver = true;
  };
  call.on('data', ({ ready, outcome, watermark }) => {
    if (isOver) return;
    if (ready) {
      record({ kind: 'ready', client, connection, identity: ready.collection?.identity ?? '' });
    } else if (outcome) {
      const reason = outcome.error ? unpackStatus(outcome.error).reason : '';
      const sequence = Number(outcome.sequence);
      record({ kind: 'outcome', client, connection, sequence, outcome: KINDS[outcome.kind], reason });
    } else if (watermark) {
      const { sequence, freshnessToken: token } = watermark;
      record({ kind: 'watermark', client, connection, sequence: Number(sequence), token });
    }
  });
  call.on('error', (error) => {
    const known = toScalingnoteError(error);
    if (known instanceof ScalingnoteError) end(known.code, known.reason);
    else end(Code[Code.UNKNOWN], '');
  });
  call.on('end', () => end('', ''));
  return call;
}

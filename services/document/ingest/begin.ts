import type { IngestBegin__Output } from '../../../proto/generated/scalingnote/v1/IngestBegin.ts';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import { type Freshness, parseFreshness } from '../../../store/freshness.ts';
import { invalidArgument } from '../../runtime/errors.ts';
import { flawOf } from '../../runtime/request-guard.ts';
import type { Analysis } from '../../../towers/lexical/analysis.ts';
import { readAnalysis } from './analyses.ts';
import { checkCollection, checkIdentity, checkTenant } from '../../runtime/validate.ts';

/** The first message of a stream, checked. */
export interface Begin extends Omit<IngestBegin__Output, 'expectedFreshnessToken' | 'analysis'> {
  /** Asked of the collection; absent where the stream leaves it to the collection. */
  analysis: Analysis | undefined;
  /** How far the client's progress had come; absent where it begins. */
  progress: Freshness | undefined;
}

/** Reads the first message of a stream. @throws {ServiceError} `INVALID_ARGUMENT`, naming the field */
export function readBegin(request: IngestRequest__Output): Begin {
  if (!request.begin) {
    const first = request.operation ?? 'an empty message';
    throw invalidArgument('begin', `${first} came first; send begin first`);
  }
  const flaw = flawOf(request);
  if (flaw) throw flaw;
  if (request.sequence !== '0') {
    const why = `is ${request.sequence} with begin; leave it out, operations count from 1`;
    throw invalidArgument('sequence', why);
  }
  const { expectedFreshnessToken: token, analysis: wanted, ...begin } = request.begin;
  checkCollection(begin.collection, 'begin.collection');
  checkTenant(begin.tenant, 'begin.tenant');
  if (begin.expectedIdentity !== '') checkIdentity(begin.expectedIdentity, 'begin.expected_identity');
  const progress = token === '' ? undefined : parseFreshness(token);
  if (token !== '' && !progress) {
    throw invalidArgument('begin.expected_freshness_token', 'is none that a watermark gave; leave it out');
  }
  return { ...begin, analysis: readAnalysis(wanted), progress };
}

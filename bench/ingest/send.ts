import { v1 } from '../../proto/load.ts';
import { frame, LeanGrpc, messagesIn } from '../qdrant/load.ts';

const { Ingest } = v1.DocumentService.service;

/** Ingests texts by several streams. @throws where not all of them were indexed */
export async function ingestTexts(
  address: string,
  collection: string,
  texts: readonly string[],
  streams: number,
): Promise<void> {
  const grpc = new LeanGrpc(address);
  const begin = frame(Ingest.requestSerialize({ begin: { collection } }));
  const bodies = Array.from({ length: streams }, (_, stream) =>
    texts.flatMap((text, index) =>
      index % streams === stream
        ? [frame(Ingest.requestSerialize({ sequence: index + 1, document: { id: `d${index}`, text } }))]
        : [],
    ),
  );
  const answers = await Promise.all(bodies.map((frames) => grpc.call(Ingest.path, [begin, ...frames])));
  grpc.close();
  const outcomes = answers.flatMap((answer) =>
    [...messagesIn(answer)].flatMap((message) => Ingest.responseDeserialize(message).outcome ?? []),
  );
  const indexed = outcomes.filter(({ kind }) => kind === 'OUTCOME_KIND_INDEXED').length;
  if (indexed !== texts.length) throw new Error(`${indexed} of ${texts.length} documents were indexed`);
}

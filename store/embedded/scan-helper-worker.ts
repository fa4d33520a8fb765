import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { exactSearch, MetricKind } from 'usearch';
import { ANSWERED, ASKED, type HelperAnswer, type HelperData, type HelperRequest } from './scan-helper.ts';

const { port, turns } = workerData as HelperData;
const chunks = new Map<number, Int8Array>();

function serve(request: HelperRequest): void {
  if ('forget' in request) return chunks.clear();
  if ('codes' in request) return void chunks.set(request.chunk, request.codes);
  const { query, count } = request;
  const answer: HelperAnswer = request.chunks.map((chunk) => {
    const { keys, distances } = exactSearch(chunks.get(chunk)!, query, query.length, count, MetricKind.IP, 1);
    return { keys, distances };
  });
  port.postMessage(answer, []);
  Atomics.add(turns, ANSWERED, 1);
  Atomics.notify(turns, ANSWERED);
}

// It ends with the thread that started it.
for (let asked = 0; ;) {
  Atomics.wait(turns, ASKED, asked);
  asked = Atomics.load(turns, ASKED);
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    serve(next.message as HelperRequest);
  }
}

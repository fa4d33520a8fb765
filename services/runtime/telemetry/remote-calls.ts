import type { RemoteWatch } from '../../../towers/remote/endpoint.ts';
import { formatTraceparent } from './trace-context.ts';
import type { CallTracer } from './tracer.ts';

/**
 * Spans of the requests to the server that runs a tower's model, by the conventions for GenAI clients. A request serves
 * many calls, so it is a trace of its own, which the server may continue.
 */
export function remoteWatch(tracer: CallTracer | undefined): RemoteWatch | undefined {
  if (!tracer) return undefined;
  return {
    begin({ url, model, texts, tokens }) {
      const { hostname, port, protocol } = new URL(url);
      const span = tracer.outgoing(`embeddings ${model}`, performance.now(), {
        'gen_ai.operation.name': 'embeddings',
        'gen_ai.request.model': model,
        'server.address': hostname,
        'server.port': Number(port || (protocol === 'https:' ? 443 : 80)),
        'scalingnote.batch.size': texts,
        'scalingnote.batch.tokens': tokens,
      });
      return {
        headers: { traceparent: formatTraceparent(span.spanContext()) },
        end(failure, read) {
          if (read !== undefined) span.setAttribute('gen_ai.usage.input_tokens', read);
          if (failure) span.fail(failure.metadata['status'] ?? failure.reason);
          span.end();
        },
      };
    },
  };
}

import type { handleBidiStreamingCall, Server, ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { reportError, toGrpcError } from '../errors.ts';
import type { Access } from './access.ts';

/**
 * A server for services of others, whose handlers don't pass `handler.ts`: each call needs what the rules say first. All
 * their methods have streams in both directions.
 */
export function behindAccess(server: Server, access: Access, log: Logger): Pick<Server, 'addService'> {
  return {
    addService: (definition: ServiceDefinition, implementation) => {
      const guarded = Object.entries(definition).map(([name, { path, requestStream, responseStream }]) => {
        if (!requestStream || !responseStream) throw new TypeError(`${path} is no stream in both directions`);
        const method = access.method(path);
        const handler = (implementation[name] ??
          implementation[uncapitalized(name)]) as handleBidiStreamingCall<object, object>;
        const serve = async (call: ServerDuplexStream<object, object>): Promise<void> => {
          const visit = method.begin(call);
          try {
            await visit?.admit();
          } catch (error) {
            const status = reportError(error, log, { method: path });
            visit?.end(status);
            call.emit('error', toGrpcError(status));
            return;
          }
          call.once('close', () => visit?.end());
          handler(call);
        };
        return [name, serve] as const;
      });
      server.addService(definition, Object.fromEntries(guarded));
    },
  };
}

function uncapitalized(name: string): string {
  return name.slice(0, 1).toLowerCase() + name.slice(1);
}

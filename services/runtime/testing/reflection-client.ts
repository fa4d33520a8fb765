import { createRequire } from 'node:module';
import {
  credentials,
  loadPackageDefinition,
  type ClientDuplexStream,
  type GrpcObject,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer, loadSync } from '@grpc/proto-loader';
import protobuf from 'protobufjs';

/** What of `grpc.reflection` is asked here. */
interface Answer {
  listServicesResponse?: { service: { name: string }[] };
  fileDescriptorResponse?: { fileDescriptorProto: Buffer[] };
}

/** A client that knows nothing of a server but its address, as gRPC tools do. */
export class ReflectionClient {
  readonly #address: string;
  readonly #client: InstanceType<ServiceClientConstructor>;

  constructor(address: string, version: 'v1' | 'v1alpha' = 'v1') {
    const require = createRequire(import.meta.url);
    const folder = require
      .resolve('@grpc/reflection')
      .replace(/build[\\/]src[\\/]index\.js$/, 'build/proto/');
    const loaded = loadPackageDefinition(
      loadSync(`grpc/reflection/${version}/reflection.proto`, {
        includeDirs: [folder],
        oneofs: true,
        defaults: true,
      }),
    );
    const Reflection = lookUp(loaded, `grpc.reflection.${version}.ServerReflection`);
    this.#address = address;
    this.#client = new Reflection(address, credentials.createInsecure());
  }

  /** Names of all services. */
  async services(): Promise<string[]> {
    const { listServicesResponse } = await this.ask({ listServices: '*' });
    return listServicesResponse!.service.map(({ name }) => name).sort();
  }

  /** Calls a unary method with what the server says of it, fields named as in its `.proto`. */
  async call<Response>(service: string, method: string, request: object): Promise<Response> {
    const { fileDescriptorResponse } = await this.ask({ fileContainingSymbol: service });
    const set = protobuf.Writer.create();
    for (const file of fileDescriptorResponse!.fileDescriptorProto) set.uint32(0x0a).bytes(file);
    const options = { keepCase: true, defaults: true, enums: String, longs: String };
    const definition = loadFileDescriptorSetFromBuffer(Buffer.from(set.finish()), options);
    const Client = lookUp(loadPackageDefinition(definition), service);
    const client = new Client(this.#address, credentials.createInsecure());
    try {
      return await new Promise((resolve, reject) => {
        client[method]!(request, (error: Error | null, response: Response) =>
          error ? reject(error) : resolve(response),
        );
      });
    } finally {
      client.close();
    }
  }

  ask(request: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = this.#client['ServerReflectionInfo']!() as ClientDuplexStream<object, Answer>;
      call.on('data', resolve).on('error', reject);
      call.write(request);
      call.end();
    });
  }

  close(): void {
    this.#client.close();
  }
}

/** A service by its full name. */
function lookUp(loaded: GrpcObject, name: string): ServiceClientConstructor {
  let found: unknown = loaded;
  for (const part of name.split('.')) found = (found as GrpcObject)[part];
  return found as ServiceClientConstructor;
}

// Writes `contract.ts`: the messages and services of the wire contract as code, so that no program reads a file to have
// them. `npm run proto` runs this before anything is compiled.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const FILES = [
  'scalingnote/v1/document_service.proto',
  'scalingnote/v1/query_service.proto',
  'google/rpc/error_details.proto',
  'google/rpc/status.proto',
];

// The copy that reads the contract again must be the one that writes it.
const loader = createRequire(import.meta.url).resolve('@grpc/proto-loader');
const { Root } = createRequire(loader)('protobufjs');

const root = new Root();
root.resolvePath = (_, target) => {
  // Which rights an RPC asks for is an option of descriptors, and no message of the contract.
  if (target === 'scalingnote/v1/access.proto') return null;
  const ours = fileURLToPath(new URL(target, import.meta.url));
  return existsSync(ours) ? ours : target;
};
root.loadSync(FILES, { alternateCommentMode: true }).resolveAll();

// Errors of the client say what a field is, in the words of the proto.
const isWanted = (key, value, { id }) =>
  key !== 'comments' && (key !== 'comment' || (id !== undefined && value !== null));
const json = JSON.stringify(root.toJSON({ keepComments: true }), function (key, value) {
  return isWanted(key, value, this) ? value : undefined;
});

const code = `// Made by "npm run proto"; see write-contract.js.
import type { ContractNamespace } from './contract-types.ts';

export const contract: ContractNamespace = ${json};
`;
// A file that is newer than the build makes the command line build again.
const out = new URL('contract.ts', import.meta.url);
if (!existsSync(out) || readFileSync(out, 'utf8') !== code) writeFileSync(out, code);

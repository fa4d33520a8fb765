// Builds grpcurl for `test/grpcurl.test.ts`, outside the project. Says in one line what it can't do.
import { buildGoProgram, GRPCURL } from './go-program.ts';

const { skip } = buildGoProgram(GRPCURL);
if (skip !== false) process.stdout.write(`not installed: ${skip}\n`);

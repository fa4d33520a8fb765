import { readFileSync } from 'node:fs';
import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
} from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/** What has a comment in the contract. */
type Described = DescMessage | DescEnum | DescField | DescMethod | DescService | DescEnum['values'][number];

/** Numbers of the fields of a file, a message, an enum and a service that hold what has comments. */
const MESSAGES = 4;
const ENUMS = 5;
const SERVICES = 6;
const CHILDREN = 2;

/** What the contract says of something; empty where it says nothing. */
export type Comments = (what: Described) => string;

/** The comments of the contract, by the full name of what they belong to. */
export function readComments(): Comments {
  const url = new URL('../../../../proto/scalingnote/commented.binpb', import.meta.url);
  const comments = new Map<string, string>();
  for (const file of fromBinary(FileDescriptorSetSchema, readFileSync(url)).file) collect(file, comments);
  return (what) => comments.get(nameOf(what)) ?? '';
}

function collect(file: FileDescriptorProto, comments: Map<string, string>): void {
  const byPath = new Map(
    (file.sourceCodeInfo?.location ?? []).map(({ path, leadingComments }) => [
      path.join('.'),
      leadingComments,
    ]),
  );
  const note = (path: number[], name: string): void => {
    const comment = byPath.get(path.join('.'));
    if (comment) comments.set(name, tidy(comment));
  };
  const noteAll = (
    kind: number,
    list: readonly { name: string }[],
    children: (index: number) => readonly { name: string }[],
  ): void => {
    for (const [index, { name }] of list.entries()) {
      const full = `${file.package}.${name}`;
      note([kind, index], full);
      for (const [place, child] of children(index).entries()) {
        note([kind, index, CHILDREN, place], `${full}.${child.name}`);
      }
    }
  };
  noteAll(MESSAGES, file.messageType, (index) => file.messageType[index]!.field);
  noteAll(ENUMS, file.enumType, (index) => file.enumType[index]!.value);
  noteAll(SERVICES, file.service, (index) => file.service[index]!.method);
}

function nameOf(what: Described): string {
  return 'parent' in what && what.parent
    ? `${what.parent.typeName}.${what.name}`
    : (what as DescMessage).typeName;
}

/** One paragraph, without what is said to the linter of the contract. */
function tidy(comment: string): string {
  return comment
    .split('\n')
    .filter((line) => !line.trim().startsWith('buf:'))
    .map((line) => line.trim())
    .join(' ')
    .trim();
}

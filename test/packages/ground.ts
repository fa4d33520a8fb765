import { cp } from 'node:fs/promises';
import { basename } from 'node:path';
import { judge } from './judge.ts';
import type { Pair } from './pair.ts';
import { Project } from './project.ts';
import type { Tarballs } from './sources.ts';

export const MIB = 1024 * 1024;

/** A kind of project that uses a package of ours. */
export interface Consumer {
  name: string;
  /** Whether its programs run on every version of Node. */
  onNodes?: true;
  /**
   * @returns what was tried, in words
   * @throws {MissingError} where it can't be tried here
   * @throws {Error} where it does not work
   */
  try: (ground: Ground) => Promise<string>;
}

/** A program that runs JavaScript. */
export interface Runtime {
  name: string;
  command: string;
}

/** Where consumers are tried. */
export class Ground {
  readonly folder: string;
  readonly tarballs: Tarballs;
  readonly pair: Pair;
  readonly nodes: readonly Runtime[];
  #collections = 0;

  /** @param nodes - that every program runs on */
  constructor(folder: string, tarballs: Tarballs, pair: Pair, nodes: readonly Runtime[]) {
    this.folder = folder;
    this.tarballs = tarballs;
    this.pair = pair;
    this.nodes = nodes;
  }

  /** What a program is to do, in a collection of its own, as JSON. */
  order(): string {
    const { documents, queries } = this.pair;
    return JSON.stringify({ documents, queries, collection: `run-${++this.#collections}` });
  }

  project(name: string, type?: 'module' | 'commonjs'): Promise<Project> {
    return Project.make(this.folder, name, type);
  }

  /**
   * Runs a program and judges what it prints.
   *
   * @param command - before the file
   * @throws {Error} where it fails, prints anything else, or does not end
   */
  async run(project: Project, file: string, ...command: readonly [string, ...string[]]): Promise<void> {
    judge(JSON.parse(await project.run(...command, file, this.order())));
  }

  /** Runs a program on every Node. @returns their names */
  async runOnNodes(project: Project, file: string): Promise<string> {
    for (const { command } of this.nodes) await this.run(project, file, command);
    return this.nodes.map(({ name }) => name).join(', ');
  }

  /**
   * Takes a bundle to a folder where nothing is installed, and runs it on every Node.
   *
   * @returns their names
   */
  async runBundle(project: Project, file: string): Promise<string> {
    const elsewhere = await this.project('elsewhere');
    const name = basename(file);
    await cp(project.path(file), elsewhere.path(name));
    return await this.runOnNodes(elsewhere, name);
  }
}

/** npm's packages that hold nothing but the program of Node, by platform: `node` itself fetches them with a script. */
const NODE_PACKAGE = `node-${process.platform}-${process.arch}`;

/** @throws {MissingError} where the registry does not give it */
export async function installNode(parent: string, version: string): Promise<Runtime> {
  const project = await Project.make(parent, 'node');
  await project.install(`${NODE_PACKAGE}@${version}`);
  return { name: `Node ${version}`, command: project.path('node_modules', NODE_PACKAGE, 'bin/node') };
}

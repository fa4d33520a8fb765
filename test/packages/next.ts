import { createInterface } from 'node:readline';
import { end, type Project } from './project.ts';
import type { Consumer, Ground } from './ground.ts';
import { judge } from './judge.ts';
import { compiled } from './types.ts';

const NEXT = ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'];

/** Next has two bundlers. */
const BUNDLERS = ['turbopack', 'webpack'] as const;

const ROUTE = `import { handler } from '../../out/program.js';

export async function POST(request) {
  return Response.json(await handler(await request.json()));
}
`;

/** A route of a production build, which answers a request. */
export const next: Consumer = {
  name: 'next',
  async try(ground) {
    const project = await compiled(ground, 'next', { packages: NEXT });
    await project.write('app/search/route.js', ROUTE);
    // Next would want a compiler of its own.
    await project.remove('tsconfig.json', 'src');
    for (const bundler of BUNDLERS) {
      await project.run(project.command('next'), 'build', `--${bundler}`);
      await answers(ground, project);
    }
    return `${NEXT[0]}; a route of a production build by ${BUNDLERS.join(' and by ')}`;
  },
};

async function answers(ground: Ground, project: Project): Promise<void> {
  const server = project.start(project.command('next'), 'start', '--port', '0', '--hostname', '127.0.0.1');
  const said: string[] = [];
  try {
    let address: string | undefined;
    for await (const line of createInterface(server.stdout!)) {
      said.push(line);
      address ??= /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
      if (address !== undefined) break;
    }
    if (address === undefined) throw new Error(`next start ended: ${said.join('\n')}`);
    const response = await fetch(`${address}/search`, { method: 'POST', body: ground.order() });
    const body = await response.text();
    if (!response.ok) throw new Error(`the route answers ${response.status}: ${body}`);
    judge(JSON.parse(body));
  } finally {
    end(server);
  }
}

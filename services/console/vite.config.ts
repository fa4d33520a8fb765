import { fileURLToPath } from 'node:url';
import { preact } from '@preact/preset-vite';
import { defineConfig } from 'vite';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here('page'),
  plugins: [preact({ prefreshEnabled: false, devToolsEnabled: false })],
  cacheDir: here('../../node_modules/.vite'),
  logLevel: 'warn',
  build: {
    outDir: here('../../dist/services/console/page'),
    emptyOutDir: true,
    target: 'es2022',
    // Either would put text into the page that the content security policy forbids.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});

import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import process from 'node:process';

// Without the cache Node strips the types again at each start. The folder is code: only its owner may write there.
function useCompileCache(): void {
  const { FLOTILLA_ROOT: root = '/var/lib/flotilla', XDG_CACHE_HOME: cache, HOME: home } = process.env;
  const own = cache ?? (home === undefined ? undefined : `${home}/.cache`);
  const isEngineHost = process.getuid?.() === 0 && statSync(root, { throwIfNoEntry: false })?.isDirectory() === true;
  const folder = isEngineHost ? `${root}/compile-cache` : own === undefined ? undefined : `${own}/flotilla`;
  if (folder === undefined) return;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(folder);
    if (uid !== process.getuid?.()) return;
    if ((mode & 0o077) !== 0) chmodSync(folder, 0o700);
    enableCompileCache(folder);
  } catch {
    // Slower, not wrong.
  }
}

useCompileCache();
const { main } = await import('./program.ts');
await main(process.argv.slice(2));

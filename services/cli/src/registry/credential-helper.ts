import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** What a helper knows of a registry. */
export interface HelperLogin {
  readonly username: string;
  readonly secret: string;
}

const timeoutMs = 60_000;

/**
 * Asks `docker-credential-NAME get` (docker-credential-helpers, README). Undefined when it has nothing for the registry.
 * Throws an Error that says what is wrong with the helper.
 */
export async function askCredentialHelper(name: string, registry: string): Promise<HelperLogin | undefined> {
  // It becomes the name of a program.
  if (!/^[\w][\w.-]*$/.test(name)) throw new Error(`credential helper ${JSON.stringify(name)} has no valid name`);
  const program = `docker-credential-${name}`;
  const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'inherit'], timeout: timeoutMs });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(new Error(error.code === 'ENOENT' ? `${program} is not on PATH` : `${program}: ${error.message}`)),
    );
    child.once('close', resolve);
  });
  child.stdin.on('error', () => {}); // one that leaves without reading says why by its exit code
  child.stdin.end(registry);
  const [exitCode, said] = await Promise.all([ended, text(child.stdout)]);
  if (exitCode !== 0) {
    if (said.trim() === 'credentials not found in native keychain') return undefined;
    throw new Error(`${program} failed${said.trim() === '' ? '' : `: ${said.trim().slice(0, 300)}`}`);
  }
  return parseAnswer(program, said);
}

function parseAnswer(program: string, said: string): HelperLogin {
  let answer: { Username?: unknown; Secret?: unknown } | null;
  try {
    answer = JSON.parse(said) as typeof answer;
  } catch {
    throw new Error(`${program} did not answer in JSON`);
  }
  const { Username: username, Secret: secret } = answer ?? {};
  if (typeof username !== 'string' || typeof secret !== 'string')
    throw new Error(`${program} gave no Username and Secret`);
  return { username, secret };
}

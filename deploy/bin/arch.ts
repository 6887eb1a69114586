import { execFileSync } from 'node:child_process';
import process from 'node:process';

// Checks the dependency rule, and that the checker saw the code at all: with a TypeScript it cannot read,
// dependency-cruiser finds no modules and reports success.
const folders = ['services', 'shared', 'deploy', 'e2e'];
const listed = execFileSync('git', [
  'ls-files',
  '--cached',
  '--others',
  '--exclude-standard',
  '--',
  ...folders.map((folder) => `${folder}/**/*.ts`),
])
  .toString()
  .split('\n')
  .filter((file) => file !== '');

interface Report {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string; readonly severity: string };
    }[];
  };
  readonly modules: readonly { readonly source: string }[];
}

function cruise(): Report {
  try {
    return JSON.parse(
      execFileSync(
        'node_modules/.bin/depcruise',
        ['--config', '.dependency-cruiser.mjs', '--output-type', 'json', ...folders],
        {
          maxBuffer: 1 << 30,
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      ).toString(),
    );
  } catch (error) {
    // A non-zero exit counts the violations; the report is on stdout all the same.
    const output = (error as { stdout?: Buffer }).stdout?.toString() ?? '';
    if (output === '') throw error;
    return JSON.parse(output);
  }
}

const report = cruise();
const seen = new Set(report.modules.map((module) => module.source));
const unseen = listed.filter((file) => !seen.has(file));
for (const { from, to, rule } of report.summary.violations)
  console.error(`${rule.severity}: ${rule.name}: ${from} → ${to}`);
for (const file of unseen) console.error(`error: not seen by dependency-cruiser: ${file}`);
if (unseen.length > 0 || report.summary.violations.some(({ rule }) => rule.severity === 'error')) process.exitCode = 1;
else console.log(`arch: ${listed.length} files keep the dependency rule`);

import { invalidField } from '@flotilla/errors';

const highestNumber = 8191; // CONFIG_NR_CPUS has no larger default on any distribution.
const longestList = 4096;

/** Numbers of a list as cpuset(7) has it: `0-2,4`. INVALID_FIELD otherwise. */
export function parseCpuList(text: string, field: string): Set<number> {
  const refuse = () => invalidField(field, 'a list such as 0-2,4', text);
  if (text.length > longestList) throw refuse();
  const numbers = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim());
    if (match === null) throw refuse();
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (first > last || last > highestNumber) throw refuse();
    for (let number = first; number <= last; number++) numbers.add(number);
  }
  return numbers;
}

/** INVALID_FIELD unless all numbers of the list are there. */
export function checkCpuList(text: string, available: string, field: string): void {
  const there = parseCpuList(available, field);
  for (const number of parseCpuList(text, field)) {
    if (!there.has(number)) throw invalidField(field, `within what this host has (${available})`, text);
  }
}

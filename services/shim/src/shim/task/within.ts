/** Whether something comes in time. Leaves no timer behind when it does. */
export async function within(coming: Promise<unknown>, waitMs: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(resolve, waitMs, false);
  try {
    return await Promise.race([coming.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

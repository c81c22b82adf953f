// Drives a running Duely with the client made by orval, whose address is a part of it.
import assert from "node:assert/strict";
import { changeTasks, createTask, getTask, listTasks, logIn, signUp, updateTask } from "./out/orval/duely";
import type { Task } from "./out/orval/model";

async function main(): Promise<void> {
  const account = { username: `orval-${Date.now()}`, password: "a long sentence of mine" };

  const signedUp = await signUp({ ...account, email: `${account.username}@example.org` });
  assert.ok(signedUp.status === 201);
  assert.equal(signedUp.data.role, "member");
  const signedIn = await logIn(account);
  assert.ok(signedIn.status === 200);
  const options = { headers: { Authorization: `Bearer ${signedIn.data.access}` } };

  const made: Task[] = [];
  for (const [title, priority, status] of [
    ["Milk", "low", "pending"],
    ["Rent", "high", "in_progress"],
    ["Bank", "urgent", "completed"],
  ] as const) {
    const answer = await createTask({ title, priority, status, due_date: "2098-01-31" }, options);
    assert.ok(answer.status === 201);
    made.push(answer.data);
  }

  const query = { status: ["pending" as const, "in_progress" as const], ordering: ["-priority" as const] };
  const first = await listTasks({ ...query, limit: 1, page_size: 20 }, options);
  assert.ok(first.status === 200 && "next_cursor" in first.data.pagination);
  assert.deepEqual(first.data.data.map((task) => task.title), ["Rent"]);
  const cursor = first.data.pagination.next_cursor;
  assert.ok(cursor);
  const second = await listTasks({ ...query, limit: 1, cursor }, options);
  assert.ok(second.status === 200);
  assert.deepEqual(second.data.data.map((task) => task.title), ["Milk"]);
  const numbered = await listTasks({ limit: 20, page_size: 2, page: 2 }, options);
  assert.ok(numbered.status === 200 && "total" in numbered.data.pagination);
  assert.equal(numbered.data.pagination.total, 3);

  const id = made[0]!.id;
  const before = await getTask(id, options);
  const conditional = { headers: { ...options.headers, "If-Match": before.headers.get("ETag") ?? "" } };
  const edited = await updateTask(id, { title: "Oat milk", due_date: null }, conditional);
  assert.ok(edited.status === 200);
  assert.equal(edited.data.version, 2);
  const stale = await updateTask(id, { title: "Soy" }, conditional);
  assert.ok(stale.status === 412 && "title" in stale.data.current);
  assert.equal(stale.data.code, "version_conflict");
  assert.equal(stale.data.current.title, "Oat milk");

  const refused = await createTask({ title: "" }, options);
  assert.ok(refused.status === 400 && refused.data.code === "validation_failed");
  assert.deepEqual(refused.data.errors?.map((fault) => fault.field), ["title"]);

  const changed = await changeTasks(
    { operations: [{ op: "update", id: made[1]!.id, status: "completed" }, { op: "delete", id: made[2]!.id }] },
    options,
  );
  assert.ok(changed.status === 200);
  assert.deepEqual(changed.data.results.map((result) => result.status), [200, 204]);
}

main().catch((fault: unknown) => {
  console.error(fault);
  process.exit(1);
});

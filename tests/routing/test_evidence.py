"""What tool results say: failures without crying wolf, in the words of many tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.messages import Document, Image, Text, ToolResult
from agentroute.routing.actions import did
from agentroute.routing.evidence import judge, judge_text

OK = [
    "12 passed, 0 failed",
    "============================== 12 passed in 0.31s ==============================",
    "Tests:       0 failed, 14 passed, 14 total",
    "Tests run: 5, Failures: 0, Errors: 0, Skipped: 1",
    "Ran 12 tests in 0.034s\n\nOK",
    "test result: ok. 14 passed; 0 failed; 0 ignored; finished in 0.02s",
    "ok  \tgithub.com/acme/store\t0.412s",
    "def handle_error(x, error):\n    if error is None:\n        raise ValueError('no error')\n    return str(error)",
    "error handling guide",
    "Error handling guide: how we treat exceptions\n\nEvery handler logs the exception and returns a Result.",
    "./src/error.py\n./src/errors/__init__.py\n./tests/test_error_handler.py",
    "src/api/error.py:12:class ApiError(Exception):\nsrc/api/error.py:30:    raise ApiError('failed')",
    '  1\timport logging\n  2\t\n  3\tclass ParseError(ValueError):\n  4\t    """Raised when parsing failed."""',
    "<returncode>0</returncode>\n<output>\ndef fail(msg):\n    print('Error: ' + msg)\n    sys.exit(1)\n</output>",
    "<returncode>0</returncode>\n<output>\nError: busy, trying again\nstep 1\nstep 2\nstep 3\ndone\n</output>",
    '{"error": null, "data": {"id": 7}}',
    '{"errors": [], "items": [{"id": 1}]}',
    '{"errors": []}',
    '{"success": true, "message": "0 errors"}',
    '{"isError": false, "content": [{"type": "text", "text": "done"}]}',
    '[{"job": "nightly", "status": "failed"}, {"job": "weekly", "status": "ok"}]',
    '{"jobs": [{"job": "nightly", "status": "failed", "error": "disk full"}], "total": 1}',
    '{"status": "cancelled", "reservation_id": "4OG6T3"}',
    '{"order_id": "#W1", "cancel_reason": null, "exchange_items": null, "status": "delivered"}',
    '{"status": 200, "body": "ok"}',
    '{"code": 404, "name": "room", "floor": 4, "building": "B", "beds": 2}',
    "HTTP/1.1 200 OK\ncontent-type: text/html",
    "Process exited with code 0",
    "Exit code: 0\nWall time: 0.1 seconds\nOutput:\nhello",
    "Command finished with exit code 0.\nBuilt 3 targets",
    "The function returns exit code 1 if the file is missing and 0 otherwise.",
    "Successfully wrote 494 bytes to a.ics",
    "Build finished with 0 errors and 2 warnings",
    "No errors found.",
    "No issues found in 12 files",
    "Compiled successfully without errors",
    "0 errors, 3 warnings",
    "SIM card re-seated successfully.\nStatus Bar: Excellent",
    "No SIM card detected in the phone.",
    "Airplane Mode: ON\nSIM Card Status: missing\nCellular Connection: no_service",
    "404 Main Street, Springfield",
    "500 items imported",
    "Flight 404: delayed",
    "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,4 @@\n+    raise ValueError('no')\n-    return 0",
    "commit 1f2e\nAuthor: A\n\n    Fix error when the file is not found\n",
    "WARNING: Running pip as the 'root' user can result in broken permissions",
    "Die Datei wurde gespeichert.",
    "文件已保存。",
    "ファイルを保存しました。",
    "# Changelog\n\n## 1.2\n- Fixed: exit code 1 on empty input\n- Error: messages are shorter now, see docs",
    "grep: build: Is a directory\nsrc/a.py:1:import x\nsrc/b.py:4:import x\nsrc/c.py:4:import x",
    "total 12\n-rw-r--r-- 1 root root 40 error.log\n-rw-r--r-- 1 root root 12 failed.txt",
    "true",
    "0",
    "-206.0",
    '"sofia_li_9219"',
    "Q: What does ENOENT mean?\nA: It says that a file is missing.",
    "Here are the search results:\n1. How to fix 404 errors\n2. Error handling in Go\n3. HTTP status 500 explained",
    "2026-01-02 10:00:01 INFO start\n2026-01-02 10:00:02 ERROR worker crashed\n2026-01-02 10:00:03 INFO restarted",
    "Title: Exception handling\nAuthor: X\n\nExceptions are raised with raise.",
    "| id | status |\n|----|--------|\n| 1 | failed |\n| 2 | ok |",
    "id,status\n1,failed\n2,ok",
    "Added 3 lines to error_handler.py",
    "The file /w/errors.py has been edited. Here's a snippet:\n  1\tclass E(Exception): pass",
    '{\n  "name": "x",\n  "scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}\n}',
    "On branch main\nnothing to commit, working tree clean",
    "PASS src/a.test.js\nTests: 12 passed, 12 total",
    "Todos have been modified successfully. Ensure that you continue to use the todo list",
    "Linting... 0 errors, 2 warnings",
    "    at foo\nSome prose about failed tests: 3 of them were flaky last week.",
    "Answer: the request fails with HTTP 404 when the id is unknown.",
    "No changes needed.",
    "All 5 tests passed",
    "x = 1\n# FIXME: this fails\n",
    "Step 1: failed login attempts are counted\nStep 2: lock the account",
    '{"message": "Successfully added 2 GB", "charge": "4.0"}',
    "Certificate added to user with amount 50.",
    '[{"title": "Error codes", "url": "https://x.org/errors"}]',
    "Memory updated",
    "user_id: 42\nerror_rate: 0.02\nfailed_logins: 3",
    "Error budget: 99.9% of requests",
    "Opened https://shop.example/404-shoes. Title: 404 Shoes",
    "Page loaded: Terms of service. You do not have to accept cookies.",
    "PID USER COMMAND\n1 root init\n22 root failsafe",
    '{"temperature": 404, "unit": "K"}',
    '{"status": "pending", "errors": 0}',
    '{"user": {"error_count": 3}, "ok": true}',
    "Balance: 0.00 EUR",
    "Applied 3 edits. 1 file unchanged.",
    "Ticket #12 'Login failed for some users' created",
    "Subject: Payment failed\nFrom: a@b.c\n\nHello, my payment failed yesterday.",
    "import pytest\n\ndef test_error():\n    with pytest.raises(ValueError):\n        f()\n",
    "def f():\n    pass\n\nclass MyError(Exception):\n    pass",
    "Screenshot taken",
    "The capital of France is Paris.",
    "Reminder set for 5:00",
    "Waiting for approval",
    "npm WARN deprecated foo@1.0.0\nadded 12 packages in 3s",
    "warning: unused variable `x`\n --> src/main.rs:2:9\n    Finished dev profile in 0.2s",
    "Downloaded 3 of 3 files, 0 failed",
    "Found 2 matches\n/w/a.py:3: raise KeyError\n/w/b.py:9: except KeyError:",
    "Diagnostics: no problems",
    "- [x] write tests\n- [ ] fix failing build",
    "SELECT 3 rows\n id | state\n 1 | error\n 2 | ok",
    "The door is locked.",
    "Unknown Pleasures by Joy Division, 1979",
    "Missing Link (2019), animated film",
    "Command: make\nDirectory: /w\nOutput: built 3\nError: (none)\nExit Code: 0\nSignal: 0\nProcess Group PGID: 7",
    '{"output": "Command: ls\\nDirectory: (root)\\nOutput: a.py\\nError: (none)\\nExit Code: 0\\nSignal: (none)"}',
    "=== STDOUT ===\nsaved\n=== EXECUTION INFO ===\nReturn code: 0\nExecution time: 0.1 seconds\nTimeout limit: 30 s",
    '{"type": "text", "text": "3 rows updated", "annotations": null}',
    '[{"type": "text", "text": "Page 1"}, {"type": "text", "text": "Errors are listed in chapter 9."}]',
    '{"content": [{"type": "text", "text": "saved"}], "isError": false}',
    "Merged branch dev.\nAuto-merging a.md\nMerge made by the 'ort' strategy.",
    "All checks passed!",
    "Success: no issues found in 12 source files",
    "[INFO] BUILD SUCCESS\n[INFO] Total time: 3 s",
    "-- Configuring done\n-- Generating done\n-- Build files have been written to: /w/build",
    "Ticket 12: customer says that the parcel was rejected by the user's neighbour",
    "The edit was applied. Review the changed lines below.\n3: return total",
    "[File updated (edited at line 82). Please review the changes and make sure they are correct.]",
    "Applied patch to 2 files",
    'Found 1 matches for "error message" in /w/src:\n/w/src/a.java (1 matches)',
    "Timeout: 30s\nRetries: 3\nHost: db",
    "Found 3 errors.log files\na/errors.log\nb/errors.log\nc/errors.log",
    "exitcode: 0 (execution succeeded)\nCode output: total 12\n-rw-r--r-- 1 u u 0 a.xlsx",
    "Fichier enregistré.",
    "El archivo se guardó.",
    "Файл сохранён.",
    "Standard error: (empty)\nStandard output: 3 lines",
]

ERROR = [
    "exit code 1",
    "Exit code 2\nusage: tool [-h]",
    "Process exited with code 127",
    "hello\n\n(Command exited with code 2)",
    "[The command completed with exit code 1.]\nsomething",
    "Command failed with exit code 1: npm run build",
    '<returncode>1</returncode>\n<output>\nTraceback (most recent call last):\n  File "a.py"\nKeyError: 1\n</output>',
    "<returncode>127</returncode>\n<output>\nbash: line 1: foo: command not found\n</output>",
    'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n    main()\nzlib.error: bad data',
    "collected\nTraceback (most recent call last):\n  File \"a.py\"\nModuleNotFoundError: No module named 'numpy'",
    '{"isError": true, "content": [{"type": "text", "text": "boom"}]}',
    '{"success": false, "message": "quota"}',
    '{"ok": false}',
    '{"error": "not found"}',
    '{"error": {"code": 17, "message": "bad"}}',
    '{"errors": [{"message": "Cannot query field x"}], "data": null}',
    '{\n  "status": "error",\n  "tool": "read",\n  "error": "ENOENT: no such file or directory"\n}',
    '{"status": 503, "body": ""}',
    '{"statusCode": 401, "message": "Unauthorized"}',
    '{"detail": "Not Found"}',
    '{"detail": [{"loc": ["body", "x"], "msg": "field required"}]}',
    '{"exit_code": 1, "stdout": "", "stderr": "no such option"}',
    '{"output": "Traceback (most recent call last):\\n  File \\"a\\", line 1\\nValueError: x"}',
    '[{"type": "text", "text": "Error: file does not exist"}]',
    '"Error: rate limited"',
    "HTTP 404",
    "HTTP/1.1 500 Internal Server Error\ncontent-type: text/html",
    "HTTP Error 403: Forbidden",
    "Status: 502",
    "404 Not Found",
    "404 Client Error: Not Found for url: https://x.org/a",
    "Request failed with status code 429",
    "<html><head>\n<title>503 Service Unavailable</title>",
    "bash: foo: command not found",
    "/bin/sh: 1: foo: not found",
    "zsh: command not found: foo",
    "cat: x.txt: No such file or directory",
    "ls: cannot access 'memory': No such file or directory",
    "rm: cannot remove '/etc/x': Permission denied",
    "/opt/miniconda3/bin/python: No module named pytest",
    "<returncode>0</returncode>\n<output>\n/usr/bin/python: No module named pytest\n</output>",
    "python: can't open file '/w/a.py': [Errno 2] No such file or directory",
    "curl: (6) Could not resolve host: x.invalid",
    "fatal: not a git repository (or any of the parent directories): .git",
    "error: pathspec 'x' did not match any file(s) known to git",
    "npm ERR! code ELIFECYCLE\nnpm ERR! errno 1",
    "make: *** [Makefile:4: all] Error 2",
    "main.c:4:5: error: expected ';' before 'return'\n    4 |     int x\n",
    "error[E0308]: mismatched types\n --> src/main.rs:4:5",
    "src/a.ts(4,5): error TS2322: Type 'string' is not assignable to type 'number'.",
    "Main.java:3: error: cannot find symbol",
    "BUILD FAILED in 3s\n4 actionable tasks: 1 executed",
    "Error: Payment method not found",
    "Error executing tool search: connection reset",
    "ToolError: no such tool",
    "Error: x is not a valid tool, try one of [search, read].",
    "<tool_use_error>String to replace not found in file.</tool_use_error>",
    "Error invoking tool 'book' with kwargs {'a': 1} with error:\n a: field required\n Please fix it.",
    "1 validation error for BookArgs\nseats\n  Field required [type=missing, input_value={}, input_type=dict]",
    "InputValidationError: Read failed due to the following issue: file_path is required",
    "Unknown tool: serch_flights",
    "Invalid arguments: expected an object",
    "File does not exist.",
    "File has not been read yet. Read it first before writing to it.",
    "No replacement was performed, old_str `x` did not appear verbatim in a.py.",
    "Command timed out after 120s",
    "The request timed out",
    "Timeout of 30000ms exceeded",
    "TimeoutError: deadline exceeded",
    "Permission denied",
    "Access denied: the role `viewer` may not write",
    "Failed to fetch https://x.org: ETIMEDOUT",
    "Could not connect to the database",
    "User not found",
    "The user doesn't want to proceed with this tool use. The tool use was rejected.",
    "Speed test failed: No Connection.",
    "ECONNREFUSED 127.0.0.1:5432",
    "psycopg2.OperationalError: could not connect to server: Connection refused",
    'java.lang.NullPointerException: Cannot invoke "String.length()"\n\tat Main.main(Main.java:4)',
    'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat A.b(A.java:1)',
    "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:",
    "thread 'main' panicked at src/main.rs:2:5:\nboom",
    "Uncaught TypeError: x is not a function\n    at foo (a.js:1:1)",
    "Segmentation fault (core dumped)",
    "sqlite3.OperationalError: no such table: users",
    'ERROR: relation "users" does not exist\nLINE 1: SELECT * FROM users',
    "ERROR 1064 (42000): You have an error in your SQL syntax",
    "Fehler: Datei nicht gefunden",
    "Erreur : fichier introuvable",
    "错误：找不到文件",
    "エラー: ファイルが見つかりません",
    "Ошибка: файл не найден",
    "오류: 파일을 찾을 수 없습니다",
    "==================== 1 error in 0.12s ====================",
    "Tool execution failed: connection reset by peer",
    "An error occurred while running the tool: KeyError('x')",
    "Sorry, I could not find the page you requested (404).",
    '{"result": null, "error": {"code": -32602, "message": "Invalid params"}}',
    "MCP error -32603: Internal error",
    "<error>Element not found</error>",
    "Observation: Error: division by zero",
    'OperationalError: (1045, "Access denied for user")',
    'API Error: 429 {"type":"error","error":{"type":"rate_limit_error"}}',
    '{"message":"API rate limit exceeded","documentation_url":"https://docs"}',
    '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    '{"success":"false","reason":"bad token"}',
    "docker: Error response from daemon: pull access denied for x",
    "ERROR: Could not find a version that satisfies the requirement foo\nERROR: No matching distribution found",
    "error Command failed with exit code 1.\ninfo Visit https://yarnpkg.com",
    "> app@1.0 build\n> tsc\n\nsrc/a.ts:3:5 - error TS2322: Type 'string' is wrong.\n\nFound 1 error in src/a.ts:3",
    "go: cannot find main module, but found .git/config",
    "ld: symbol(s) not found for architecture arm64\nclang: error: linker command failed with exit code 1",
    '  File "a.py", line 3\n    x = = 1\n        ^\nSyntaxError: invalid syntax',
    "Exception: bad thing\n",
    "ssh: connect to host x port 22: Connection refused",
    "The command could not be executed: timeout",
    'Timed out waiting for selector "#buy"',
    "TimeoutError: locator.click: Timeout 30000ms exceeded.",
    "You do not have permission to access this file",
    "Reservation not found",
    "Insufficient balance",
    "order cannot be cancelled",
    "Error code: 400 - {'error': {'message': 'bad'}}",
    "E: Unable to locate package foo",
    "Killed",
    "java.io.FileNotFoundException: x.txt (No such file or directory)",
    "[ERROR] Failed to execute goal org.apache.maven.plugins",
    "FAILURE: Build failed with an exception.",
    "error TS18003: No inputs were found in config file",
    "❌ Deployment failed",
    "✗ Build failed in 2.3s",
    "requests.exceptions.ConnectionError: HTTPConnectionPool(host='x', port=80): Max retries exceeded",
    "Error [ERR_MODULE_NOT_FOUND]: Cannot find module '/w/x.js'",
    "node:internal/modules/cjs/loader:1080\n  throw err;\n  ^\n\nError: Cannot find module 'x'\n    at Module._load",
    "Tool 'fetch' not found. Available tools: read, write",
    "Path /w/x does not exist. Please provide a valid path.",
    "sh: 1: Syntax error: Unterminated quoted string",
    "jq: error (at <stdin>:1): Cannot iterate over null (null)",
    'psql: error: connection to server failed: FATAL: role "x" does not exist',
    '{"errorType":"TypeError","errorMessage":"x is not a function"}',
    "<tool_error>bad call</tool_error>",
    "Request blocked by policy",
    "Command not allowed: rm -rf /",
    "I/O error: disk full",
    "Unable to parse arguments as JSON",
    "ModuleNotFoundError: No module named 'x'",
    "Cannot read properties of undefined (reading 'x')",
    "Command: make\nDirectory: /w\nOutput: cc -c a.c\nError: (none)\nExit Code: 2\nSignal: 0\nProcess Group PGID: 7",
    "Command: nope\nDirectory: /w\nOutput: (empty)\nError: spawn nope ENOENT\nExit Code: (none)\nSignal: (none)",
    "ERROR:\nInvalid `path` parameter: /w/a.c is a directory.",
    "Error:\nThe file was changed since it was read.",
    '{"type":"text","text":"Error: no such channel","annotations":null}',
    '[{"type": "text", "text": "Opening the page"}, {"type": "text", "text": "Error: net::ERR_NAME_NOT_RESOLVED"}]',
    '{"content": [{"type": "text", "text": "MCP error -32602: bad params"}]}',
    '{"ok": true, "log": "step 1\\nTraceback (most recent call last):\\n  File \\"a.py\\"\\nKeyError: 1"}',
    '{"error": "", "response": "{\'message\': \'page must be an integer: two\'}"}',
    "Your edit was NOT applied: it would leave the file with a syntax error.",
    "[Your proposed edit has introduced new syntax error(s). Please understand the errors and retry.]",
    "Failed to edit, 0 occurrences found for old_string in /w/a.py. No edits made.",
    "The SEARCH block does not match anything in the file.",
    "# 1 SEARCH/REPLACE block failed to match!",
    "apply_patch verification failed: Failed to find expected lines in /w/a.py:\n    x = 1",
    "error: patch failed: a.py:3\nerror: a.py: patch does not apply",
    "Hunk #1 FAILED at 12.\n1 out of 1 hunk FAILED -- saving rejects to file a.py.rej",
    "old_string and new_string are identical: nothing to do",
    "No sufficiently similar match found at line: 12 (71% similar, needs 100%)",
    "The user doesn't want to take this action right now. STOP what you are doing and wait for the user.",
    "The user denied this operation.",
    "exec command rejected by user",
    "[Operation Cancelled] Reason: User did not allow tool call",
    "Action has been rejected by the user! Waiting for further user input.",
    "The user has declined to run this tool.",
    "User cancelled the request",
    "The last command <command>make all</command> timed out and has been killed.\n <output>\ncc a.c\n</output>",
    "EXECUTION TIMED OUT",
    "The script exceeded the time limit of 60 s",
    "Auto-merging a.md\nCONFLICT (content): Merge conflict in a.md\nAutomatic merge failed; fix conflicts and commit.",
    "[ERROR] COMPILATION ERROR :\n[INFO] 1 error\n[INFO] BUILD FAILURE",
    '-- Looking for ffi\n-- Configuring incomplete, errors occurred!\nSee also "/w/CMakeOutput.log".',
    "[3/9] cc a.o\nFAILED: b.o\nninja: build stopped: subcommand failed.",
    "a.py:1:8: F401 [*] `os` imported but unused\nFound 1 error.\n[*] 1 fixable with the `--fix` option.",
    "lib/a.ts:3:1 lint/style\n\nChecked 3 files in 20ms.\nFound 2 errors.",
    "husky - pre-commit hook failed (code 1)",
    "Tool get_weather not found in agent planner",
    "Parse error near line 1: no such column: nme",
    "strings: 'x.img': No such file",
    "/srv/x/*: cannot open `/srv/x/*' (No such file or directory)",
    "Room booking failed: ROOM_TAKEN",
    "No se pudo abrir el archivo de datos.",
    "Impossible d'ouvrir le fichier.",
    "Не удалось подключиться к базе данных.",
    "Datei konnte nicht geöffnet werden.",
    "Command executed in terminal within working directory '/w'. Exit code: 2\nOutput:\nusage: tool",
    "exitcode: 1 (execution failed)\nCode output: usage: run.py FILE",
    "/bin/bash: line 3: javac: command not found\n(Open file: /w/A.java)\n(Current directory: /w)\nbash-$",
]

FAILING_TEST = [
    "3 failed, 9 passed in 1.2s",
    "FAILED tests/test_a.py::test_x - AssertionError: assert 1 == 2\n========= 3 failed, 9 passed in 1.20s =========",
    "<returncode>1</returncode>\n<output>\nE   assert 1 == 2\n=========== 1 failed in 0.10s ===========\n</output>",
    "Ran 3 tests in 0.001s\n\nFAILED (errors=1)",
    "Ran 3 tests in 0.001s\n\nFAILED (failures=2)\nDestroying test database for alias 'default'...",
    "Test Suites: 1 failed, 2 passed, 3 total\nTests:       2 failed, 30 passed, 32 total\nTime:        1.2 s",
    "  12 passing (30ms)\n  2 failing\n\n  1) adds numbers:",
    "3 examples, 1 failure",
    "--- FAIL: TestAdd (0.00s)\n    a_test.go:7: got 3\nFAIL\nFAIL\tgithub.com/acme/store\t0.004s",
    "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; finished in 0.01s",
    "[ERROR] Tests run: 5, Failures: 2, Errors: 0, Skipped: 0",
    "50% tests passed, 1 tests failed out of 2",
    "not ok 3 - adds numbers",
    "FAILURES!\nTests: 4, Assertions: 9, Failures: 1.",
    "Failed!  - Failed:     1, Passed:     3, Skipped:     0, Total:     4",
    "✖ 2 of 3 tests failed",
    " FAIL  src/a.test.ts > adds\n Test Files  1 failed (1)\n      Tests  1 failed | 3 passed (4)",
    "5 runs, 8 assertions, 1 failures, 0 errors, 0 skips",
    "FAIL src/a.test.js\n  ● adds\n\n    expect()\n\nTests: 1 failed, 11 passed, 12 total\nRan all test suites.",
    "F..\n======\nFAIL: test_a (t.T)\n------\nAssertionError\n\n------\nRan 3 tests in 0.001s\n\nFAILED (failures=1)",
    "1) Failure:\nTestFoo#test_bar\n\n2 runs, 2 assertions, 1 failures, 0 errors, 0 skips",
    "FAILED tests/a.py::test_b - assert 1 == 2\n1 failed, 3 passed in 0.12s",
    "Tests failed: 2, passed: 10",
    "FAIL: tests/a.sh (exit status: 1)\n# TOTAL: 3\n# PASS:  2\n# FAIL:  1",
    "= 1 failed, 1 passed, 1 warning in 0.05s =",
    "  3 passed\n  1 failed\n    [chromium] > a.spec.ts",
    "Failed tests:\n  test_a\n\n1 test failed",
    "exit code: 0\n..F\n===== 1 failed, 2 passed in 0.10s =====",
    '{"ok": true, "log": "..F\\n===== 1 failed, 2 passed in 0.10s ====="}',
    "[execute_command for 'pytest'] Result:\nOutput:\nE  assert 1 == 2\n==== 6 failed, 15 passed in 0.09s ====\n\n"
    "<environment_details>\n# VSCode Open Tabs\n" + "src/mod.py,\n" * 90 + "</environment_details>",
]

EMPTY = [
    "",
    "  \n\t ",
    "[]",
    "{}",
    "null",
    "None",
    '""',
    "[[]]",
    "<returncode>0</returncode>\n<output>\n</output>",
    "<returncode>1</returncode>\n<output>\n</output>",
    '{"exit_code": 1, "stdout": "", "stderr": ""}',
    '{"results": [], "total": 0}',
    '{"data": null}',
    '{"content": ""}',
    "No results found",
    "No matches found",
    "No files found",
    "(no output)",
    "(0 rows)",
    "0 results",
    "Found 0 matches",
    "Nothing found.",
    "Tool ran without output or errors",
    "Your command ran successfully and did not produce any output.",
    "The command completed with no output",
    "Keine Ergebnisse",
    "没有找到结果",
    "該当なし",
    "Ничего не найдено",
    "No matches",
    "no output",
    "Query returned 0 rows.",
    "Empty set (0.00 sec)",
    "<output></output>",
    '{"hits": {"total": 0, "hits": []}}',
    "[\n]",
    "No data available",
    "No emails match your query.",
    '{"results":[],"next":null}',
    "No matching documents",
    "Search returned no results.",
    "<no output>",
    "No such records. 0 found.",
    '{"items": [], "count": 0, "query": "x"}',
    'No matches found for "x" in /w/a.java\n(Open file: /w/a.java)\n(Current directory: /w)\nbash-$',
    '{"type":"text","text":"No results found","annotations":null}',
    '{"type":"text","text":""}',
    '[{"type": "text", "text": ""}, {"type": "text", "text": "[]"}]',
    "(no output)\n\nCommand exited with code 1",
]


KNOWN_MISSES = [
    ("ok", "README\n\n## Errors\n\nError: the base class\n\nSee also NotFound"),
    ("ok", "Invalid or expired cards: 0"),
    ("error", 'Expected string, received number at "path"'),
    ("error", '{"code":"ENOENT","message":"no such file"}'),
    ("error", "pip._vendor.ResolutionImpossible: conflict"),
    ("error", "<system>Command failed: exit status 2</system>"),
    ("error", "undefined is not an object (evaluating 'a.b')"),
    ("empty", "N/A"),
    ("error", "No se encontró el módulo 'foo'"),
]
"""What `judge` gets wrong today, kept in sight: a rule that mends one of these may move it up."""


def _cases(label: str, texts: list[str]) -> list[object]:
    return [pytest.param(text, label, id=f"{label}-{place}-{text[:30]!a}") for place, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("text", "label"),
    _cases("ok", OK) + _cases("error", ERROR) + _cases("failing_test", FAILING_TEST) + _cases("empty", EMPTY),
)
def test_what_a_result_says(text: str, label: str) -> None:
    evidence = judge(ToolResult("c1", (Text(text),)))
    assert evidence.verdict == label, evidence
    assert evidence.failed is (label in ("error", "failing_test"))
    assert (evidence.severity > 0) is (label != "ok")
    assert evidence.reason


# Written before they were judged, of tools not looked at before: 35 of 50 failures were seen then, with 2 false alarms
# of 32. What was missed was mended by kind.
LATER_OK = [
    "Error handling was added to 3 functions.",
    "commit a1b2\n    Fix failed login error\n",
    "- [ ] Fix: error when user cancelled the request\n- [x] docs",
    "| test | status |\n|---|---|\n| a | failed |",
    "2026-01-01 ERROR db timed out\n2026-01-01 INFO retry ok\n2026-01-01 INFO done",
    '{"issues":[{"title":"Build failed on main","state":"open"}],"total":1}',
    '{"messages":[{"from":"a","text":"Error: I cannot log in"}]}',
    'class NotFoundError(Exception):\n    """The user was not found."""',
    "Apply complete! Resources: 1 added, 0 changed, 0 destroyed.",
    "deployment.apps/web configured",
    "Successfully built a1b2c3\nSuccessfully tagged x:latest",
    "✓ 12 tests passed\n0 failed",
    "Everything up-to-date",
    "Switched to branch 'fix-error'",
    "README.md | 3 ++-\n error.py | 9 +++++\n 2 files changed",
    "Page title: 500 Internal Server Error explained - Docs\nBody: This article explains HTTP status codes.",
    "The patch was applied to 2 files.\nsrc/a.py\nsrc/b.py",
    "Edit applied. The file now has no syntax errors.",
    'User john denied? no entry found in audit: {"user":"john","allowed":true}',
    "Subject: Re: operation cancelled\nFrom: x@y.z\n\nThe surgery was cancelled by the hospital.",
    "Search results for 'timed out': 3 posts\n1. Why my request timed out\n2. x\n3. y",
    "Order 7 was cancelled on request of the customer.",
    "No problems found.",
    "warning: LF will be replaced by CRLF in a.txt.",
    "error_count,3\nfailed_jobs,0\nok_jobs,12",
    "Listening on port 3000",
    "El archivo no existe todavía; se ha creado.",
    "export const ERRORS = {\n  NOT_FOUND: 'not found',\n};",
    "Build succeeded.\n    0 Warning(s)\n    0 Error(s)",
    "Exit code: 0\nOutput:\nAll good",
    "Command: ls\nDirectory: /w\nStdout: a\nStderr: (empty)\nError: (none)\nExit Code: 0\nSignal: (none)",
    "diff --git a/x b/x\n-old error\n+new error: fixed",
]

LATER_FAILED = [
    "Plan: 1 to add\n╷\n│ Error: Invalid reference\n│ \n│   on main.tf line 3\n╵",
    'Error from server (NotFound): pods "web-1" not found',
    "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?",
    "PHP Fatal error:  Uncaught Error: Call to undefined function foo() in /w/a.php:3",
    "/w/Program.cs(3,5): error CS1002: ; expected [/w/a.csproj]\n\nBuild FAILED.\n    1 Error(s)",
    "> Task :compileJava FAILED\n\nFAILURE: Build failed with an exception.\n\nExecution failed for a task.",
    "page.goto: net::ERR_CONNECTION_REFUSED at http://localhost:3000/",
    "locator.click: Error: strict mode violation: getByText('x') resolved to 2 elements",
    "error[E0433]: failed to resolve: no such crate\n --> src/a.rs:1:5\n\nerror: could not compile `a`",
    '#0 ERROR: process "/bin/sh -c npm ci" failed: exit code: 1\n------\nfailed to solve',
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "[Tool error] 'limit' should be at most 100",
    "Tool call failed: McpError: MCP error -32001: Request timed out",
    "Failed to execute tool 'slack_post': channel_not_found",
    '{"ok":false,"error":"channel_not_found"}',
    '{"content":[{"type":"text","text":"GitHub API error: 422 Unprocessable Entity"}],"isError":true}',
    "GraphQL: Could not resolve to a Repository with the name 'a/b'. (repository)",
    "remote: Permission to a/b.git denied to c.\nfatal: unable to access 'https://x/': error: 403",
    "error: failed to push some refs to 'x'\nhint: Updates were rejected because the remote contains work",
    "CONFLICT (modify/delete): a.py deleted in HEAD and modified in x.\nerror: could not apply 1a2b... change",
    "./a.sh: line 3: syntax error near unexpected token `fi'",
    "Error response from daemon: No such container: web",
    "ModuleNotFoundError: No module named 'foo'\n(Open file: n/a)\n(Current directory: /w)\nbash-$",
    "<returncode>2</returncode>\n<output>\nmake: *** No rule to make target 'x'.  Stop.\n</output>",
    "[The command timed out after 120.0 seconds. You may wait longer]\n[Current working directory: /w]",
    "Command aborted by user",
    "User chose to reject this action. Reason: too risky",
    "The user declined the tool call",
    "diff error: No sufficiently similar match found (82%)\n<environment_details>\nx\n</environment_details>",
    "Could not find the exact text in src/a.ts. It must match exactly.",
    "Error: Found 3 matches of the string to replace, but replace_all is false.",
    "src/a.ts\n  3:7  error  'x' is never used  no-unused-vars\n\n✖ 1 problem (1 error, 0 warnings)",
    "a.py:3: error: Incompatible types in assignment  [assignment]\nFound 1 error in 1 file (checked 3 source files)",
    "would reformat a.py\n\nOh no! 💥 💔 💥\n1 file would be reformatted.",
    "Tests  2 failed | 10 passed (12)\n   Start at  10:00",
    "FAIL: test_x (t.A)\n----\nAssertionError: 1 != 2\n----\nRan 3 tests in 0.1s\n\nFAILED (failures=1)",
    "3 scenarios (1 failed, 2 passed)\n9 steps (1 failed, 8 passed)",
    "test result: FAILED. 10 passed; 2 failed; 0 ignored\n\nerror: test failed, to rerun pass `--lib`",
    "not ok 1 - adds\n# tests 1\n# fail 1",
    "Invalid JSON in arguments: Unexpected token } at position 10",
    "Le fichier est introuvable.",
    "文件不存在",
    "Доступ запрещён",
    "Unable to find image 'x:latest' locally\ndocker: Error response from daemon: manifest unknown.",
    "SyntaxError: Unexpected token (3:5)\n  1 | a\n> 3 | b(",
    "zsh: no matches found: *.foo",
    "The specified file path is outside the allowed directories",
    "Rate limit reached for requests. Please try again in 20s.",
]


@pytest.mark.parametrize("text", LATER_OK)
def test_more_that_is_fine(text: str) -> None:
    assert not judge_text(text).failed, judge_text(text)


@pytest.mark.parametrize("text", LATER_FAILED)
def test_more_that_failed(text: str) -> None:
    assert judge_text(text).failed


STATUSES = [
    ("ok", "3 rows updated"),
    ("ok", "def check(x):\n    raise ValueError('no error here')\n\nprint(check)\nx = 1\ny = 2"),
    ("error", "ls: cannot access 'tests': No such file or directory"),
    ("error", "Traceback (most recent call last):\n  File 'a.py'\nKeyError: 1"),
    ("error", "Your edit could not be applied: the old text was not found"),
    ("failing_test", "F..\n===== 2 failed, 9 passed in 1.20s ====="),
    ("empty", 'No matches found for "x"'),
]
FRAMES = {
    "a shell's prompt": "{}\n(Open file: n/a)\n(Current directory: /w)\nbash-$",
    "an interactive session": "{}\n(Open file: /w/a.py)\n(Current directory: /w)\n(Interactive session: n/a)\nbash-$",
    "another prompt": "{}\n[Current working directory: /w]\n[Python interpreter: /usr/bin/python3]\nroot@box:/w#",
    "a notebook": "OBSERVATION:\n{}\n[Jupyter current working directory: /w]",
    "an editor": "[execute_command for 'x'] Result:\nOutput:\n{}\n\n<environment_details>\n"
    + "src/a.py\n" * 90
    + "</environment_details>",
    "a reminder": "{}\n\n<system-reminder>\nThe todo list is empty. Error: none of your business.\n</system-reminder>",
    "two reminders": "{}\n<system-reminder>a</system-reminder>\n<system-reminder>b</system-reminder>\n",
    "a cut": "{}\n[12 more lines not shown. Use offset=30 to continue]",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=list(FRAMES))
@pytest.mark.parametrize(("label", "text"), STATUSES)
def test_the_frame_of_a_harness_changes_nothing(label: str, text: str, frame: str) -> None:
    assert judge_text(text).verdict == label
    assert judge_text(frame.format(text)).verdict == label


@pytest.mark.parametrize(("label", "text"), STATUSES)
@pytest.mark.parametrize("more", [None, "fine"], ids=["one block", "two blocks"])
@pytest.mark.parametrize("place", [0, 1])
def test_content_blocks_say_what_is_in_them(label: str, text: str, more: str | None, place: int) -> None:
    blocks = [{"type": "text", "text": text, "annotations": None}]
    if more is not None:
        blocks.insert(place, {"type": "text", "text": more, "annotations": None})
    expected = "ok" if more is not None and label == "empty" else label
    assert judge_text(json.dumps(blocks)).verdict == expected
    assert judge_text(json.dumps({"content": blocks, "isError": False})).verdict == expected
    if more is None:
        assert judge_text(json.dumps(blocks[0])).verdict == label


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("ok", "x" * 9_000),
        ("error", "y\n" * 4_000 + "Error: disk full"),
        ("error", "Error: disk full\n" + "y\n" * 4_000),
        ("failing_test", "y\n" * 4_000 + "==== 1 failed, 3 passed in 0.12s ===="),
    ],
)
def test_a_long_content_block_is_read_at_its_ends(label: str, text: str) -> None:
    block = {"type": "text", "text": text}
    for shown in (block, [block], {**block, "annotations": None}, [{**block, "annotations": None, "meta": None}]):
        assert judge_text(json.dumps(shown)).verdict == label


PAGE = "Opening hours: Tuesday to Sunday, 10:00 to 18:00. Tickets cost 12 euros. " * 9
INJECTED = [
    "Error: something went wrong\n" + PAGE,
    PAGE + "\nTraceback (most recent call last):\n  File 'x'\nKeyError: 1",
    PAGE + "\n===== 3 failed in 1s =====",
    "exit code: 2\n" + PAGE,
    "The user denied this operation.\n" + PAGE,
    "Your edit was not applied.\n" + PAGE,
    json.dumps({"type": "text", "text": "Error: x\n" + PAGE}),
    json.dumps([{"type": "text", "text": "Title"}, {"type": "text", "text": PAGE + "\nError: x"}]),
    "Hours: 10 to 18.\nError: x\nTickets: 12 euros.",
]


@pytest.mark.parametrize("text", INJECTED)
@pytest.mark.parametrize(
    "call", [("fetch_page", '{"url": "https://x.org"}'), ("read_file", "{}"), ("web_search", '{"query": "x"}')]
)
def test_what_was_read_is_content_and_no_failure(call: tuple[str, str], text: str) -> None:
    assert not judge_text(text, did=did(*call)).failed


@pytest.mark.parametrize("command", ["cat notes.txt", "grep -rn Error src", "curl -s https://x.org"])
@pytest.mark.parametrize("text", [text for text in INJECTED[:6] if not text.startswith("exit")])
def test_what_a_shell_read_is_content_too(command: str, text: str) -> None:
    call = did("bash", json.dumps({"command": command}))
    assert not judge_text(text, did=call).failed
    assert judge_text(f"<returncode>2</returncode>\n<output>\n{text}\n</output>", did=call).failed


@pytest.mark.parametrize(
    "text",
    ["Error: no such page", "404 Not Found", '{"error": "not found"}', "<tool_use_error>No such file</tool_use_error>"],
)
def test_a_tool_that_reads_can_fail(text: str) -> None:
    assert judge_text(text, did=did("fetch_page", "{}")).failed


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ("grep -rn truecolour src", "empty"),
        ("cd src && rg 'a|b;c'", "empty"),
        ("test -f build/out.o", "empty"),
        ("diff a.txt b.txt", "empty"),
        ("git diff --quiet", "empty"),
        ("pgrep -f server", "empty"),
        ("grep -q x a.py; make all", "error"),
        ("python run.py", "error"),
        ("npm test", "error"),
    ],
)
@pytest.mark.parametrize(
    "frame", ["Exit code 1", "Command exited with code 1", "Process exited with code 1", "exit code: 1"]
)
def test_exit_code_1_of_a_search_says_that_nothing_was_found(command: str, verdict: str, frame: str) -> None:
    call = did("Bash", json.dumps({"command": command, "description": "Look"}))
    assert judge_text(frame, did=call).verdict == verdict


def test_what_a_diff_shows_is_no_failure_and_a_bad_pattern_is_one() -> None:
    call = did("Bash", json.dumps({"command": "diff a.txt b.txt"}))
    assert judge_text("Exit code 1\n3c3\n< a\n---\n> b", did=call).verdict == "ok"
    assert judge_text("Exit code 2\ndiff: a.txt: No such file or directory", did=call).verdict == "error"


def test_a_count_of_failures_is_found_wherever_a_test_run_prints_it() -> None:
    run = did("bash", '{"command": "pytest -q"}')
    text = "exit code: 0\n" + "fine\n" * 500 + "==== 1 failed, 3 passed in 0.12s ====\n" + "fine\n" * 500
    assert judge_text(text, did=run).verdict == "failing_test"
    assert judge_text(text.replace("1 failed, ", ""), did=run).verdict == "ok"
    assert judge_text(text, did=did("bash", '{"command": "cat log.txt"}')).verdict == "ok"


MADE = Path(__file__).parents[2] / "evals" / "labels" / "made.jsonl"
"""Results in the words of many harnesses and tools, labelled before any verdict was seen."""


@pytest.mark.skipif(not MADE.exists(), reason="evals/ is not here")
def test_results_of_many_harnesses_labelled_beforehand() -> None:
    rows = [json.loads(line) for line in MADE.read_text("utf-8").splitlines()]
    said = []
    for row in rows:
        call = None if row["call"] is None else did("bash", json.dumps({"command": row["call"]}))
        said.append(judge_text(row["text"], row["is_error"], call).failed)
    missed = [row["text"] for row, failed in zip(rows, said, strict=True) if row["failed"] and not failed]
    alarms = [row["text"] for row, failed in zip(rows, said, strict=True) if failed and not row["failed"]]
    assert alarms == []
    assert len(missed) <= 3, missed


@pytest.mark.parametrize(("label", "text"), KNOWN_MISSES)
def test_known_misses(label: str, text: str) -> None:
    assert judge_text(text).verdict != label


@pytest.mark.parametrize("text", ["12 passed", "", "{}", '{"rows": [1]}', "def f(): pass"])
def test_the_flag_of_an_error_is_certain(text: str) -> None:
    assert judge(ToolResult("c1", (Text(text),), is_error=True)).verdict == "error"


def test_the_flag_false_outweighs_weak_signs_only() -> None:
    assert judge_text("User not found").verdict == "error"
    assert judge_text("User not found", is_error=False).verdict == "ok"
    assert judge_text("Error: User not found", is_error=False).verdict == "error"
    assert judge_text("3 failed, 9 passed in 1s", is_error=True).verdict == "failing_test"


def test_a_file_is_no_empty_result() -> None:
    assert judge(ToolResult("c1", (Image(url="https://x.org/a.png"),))).verdict == "ok"
    assert judge(ToolResult("c1", (Document(url="https://x.org/a.pdf"),))).verdict == "ok"
    assert judge(ToolResult("c1", ())).verdict == "empty"


def test_a_failure_at_either_end_of_a_long_result_is_seen() -> None:
    body = "def run():\n    return 1\n" * 20_000
    crash = "Traceback (most recent call last):\n  File 'a.py', line 1\nKeyError: 'a'"
    assert judge_text(body).verdict == "ok"
    assert judge_text(body + crash).reason == "the result ends in a traceback"
    assert judge_text("Error: too long\n" + body).verdict == "error"
    assert judge_text("<returncode>2</returncode>\n<output>\n" + body + "\n</output>").verdict == "error"
    assert judge_text('{"status": "error", "log": "' + body).verdict == "error"
    assert judge_text('{"log": [{"status": "error"}], "text": "' + body).verdict == "ok"


def test_severity_orders_a_crash_above_a_refusal_above_nothing() -> None:
    texts = ["Traceback (most recent call last):\nKeyError: 1", "User not found", "", "fine"]
    severities = [judge_text(text).severity for text in texts]
    assert severities == sorted(severities, reverse=True)
    assert len(set(severities)) == 4


@given(st.text(max_size=3000), st.sampled_from([None, True, False]))
def test_any_text_is_judged(text: str, flag: bool | None) -> None:
    evidence = judge_text(text, flag)
    assert evidence == judge_text(text, flag)
    assert 0 <= evidence.severity <= 1
    assert not flag or evidence.failed


def test_blocks_of_a_result_are_lines_of_their_own() -> None:
    blocks = (Text("Running checks on src"), Text("Error: ENOENT: no such file or directory, open 'a'"))
    assert judge(ToolResult("c1", blocks)).failed


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ('{"error": "No error", "rows": 3}', False),
        ('{"error": {"code": 0, "message": ""}, "rows": 3}', False),
        ('{"success": 0, "skipped": 4}', False),
        ('{"success": false}', True),
        ("Tests failed: 0, passed: 3", False),
        ("Tests failed: 2, passed: 3", True),
        ("Aborted (core dumped)", True),
        ("ping: example: Name or service not known", True),
        ("(error) ERR wrong number of arguments for 'get' command", True),
        ("net::ERR_NAME_NOT_RESOLVED at https://x.test", True),
    ],
)
def test_nothing_to_complain_of_and_short_complaints(text: str, failed: bool) -> None:
    assert judge_text(text).failed is failed

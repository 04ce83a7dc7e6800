# asyncgg disassociates a list from S3 every night, as a Fargate task that EventBridge Scheduler starts.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = 90
}

resource "aws_ecs_cluster" "this" {
  name = var.name
}

resource "aws_security_group" "this" {
  name        = var.name
  description = "asyncgg calls AWS and accepts no connection"
  vpc_id      = var.vpc_id

  egress {
    description = "HTTPS"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 1024
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }

  volume {
    name = "work"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([{
    name      = "asyncgg"
    image     = var.image
    essential = true
    command = [
      "disassociate", "s3://${var.list_bucket}/${var.list_key}", "--yes", "--json",
      "--state", "s3://${var.list_bucket}/${var.state_prefix}",
      "--expect-account", local.account, "--max-things", tostring(var.max_things),
      "--quota-share", "0.5", "--abort-at", "5", "--deadline", "2h",
    ]
    environment            = [{ name = "AWS_REGION", value = local.region }]
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    mountPoints = [
      { sourceVolume = "work", containerPath = "/work" },
      { sourceVolume = "tmp", containerPath = "/tmp" },
    ]
    # SIGTERM saves the run at once and ends it after its requests in flight.
    stopTimeout = 120
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "asyncgg"
      }
    }
  }])
}

resource "aws_sqs_queue" "not_started" {
  name                      = "${var.name}-not-started"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_scheduler_schedule" "this" {
  name                = var.name
  schedule_expression = var.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.scheduler.arn

    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 5
    }

    dead_letter_config {
      arn = aws_sqs_queue.not_started.arn
    }

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this.arn
      launch_type         = "FARGATE"
      task_count          = 1

      network_configuration {
        assign_public_ip = false
        security_groups  = [aws_security_group.this.id]
        subnets          = var.subnet_ids
      }
    }
  }
}

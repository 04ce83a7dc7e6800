variable "name" {
  type        = string
  default     = "asyncgg"
  description = "Name of the resources; unique in the account and Region."
}

variable "image" {
  type        = string
  description = "The image in ECR, with its digest."
}

variable "repository_arn" {
  type        = string
  description = "ARN of the ECR repository of the image."
}

variable "list_bucket" {
  type        = string
  description = "The bucket of the manifest."
}

variable "list_key" {
  type        = string
  default     = "retired.csv"
  description = "The key of the manifest, with the columns core,thing."
}

variable "state_prefix" {
  type        = string
  default     = "asyncgg-runs"
  description = "Where the runs are kept in the same bucket, so that the next task continues an unfinished one."
}

variable "core_names" {
  type        = string
  default     = "*"
  description = "Names of the core devices, as a pattern of IAM; narrow it if the names allow it."
}

variable "max_things" {
  type        = number
  default     = 5000
  description = "A longer list stops the run before the first request."
}

variable "vpc_id" {
  type        = string
  description = "The VPC of the subnets."
}

variable "subnet_ids" {
  type        = list(string)
  description = "Private subnets with a NAT gateway or VPC endpoints."
}

variable "schedule" {
  type        = string
  default     = "cron(30 2 * * ? *)"
  description = "When the task starts, in UTC."
}

variable "alarm_hours" {
  type        = number
  default     = 26
  description = "An alarm reports that no run ended with exit code 0 for so many hours, at most 168."
}
